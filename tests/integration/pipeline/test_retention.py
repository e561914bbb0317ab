"""What is too old is deleted with its files, bit by bit, and nothing that somebody may still need."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared import queue
from shared.db.counters import read_counters
from shared.db.tenants import tenants
from tests.integration.pipeline.rig import Rig
from tests.integration.pipeline.test_parking import connect
from workers.sweeping import retention
from workers.sweeping.retention import delete_expired

ACME, NORA = "cmp_acme", "nora@acme.example"
TO_NORA = [{"handle": NORA, "role": "to"}]
OLDER = "UPDATE events SET received_at = received_at - make_interval(days => %s) WHERE company_id = %s"


@pytest.fixture
def rig(database: str, redis_db: str, tmp_path: Path) -> Iterator[Rig]:
    """Mailroom that keeps finished events for ten days and mail of nobody's companies for thirty."""
    rig = Rig(database, redis_db, tmp_path / "files")
    keep(rig, retention_events_days=10, retention_unclaimed_days=30)
    yield rig
    rig.close()


def keep(rig: Rig, **days: int) -> None:
    object.__setattr__(rig.resources, "settings", rig.settings.model_copy(update=days))


def tenant(rig: Rig, **policy: Any) -> int:
    tenant_id = rig.tenant(ACME, **policy)
    rig.user(tenant_id, NORA)
    return tenant_id


def mail(rig: Rig, company: str = ACME, *, days_ago: int, **order: Any) -> list[dict[str, Any]]:
    """Mail that was worked through, as far as it can be, and came so long ago."""
    rig.control("companies", {"id": company, "name": company})
    sent = rig.send("inbound_received", company, recipients=TO_NORA, **order)
    rig.record()
    rig.work()
    for event in sent:
        rig.sql(OLDER + " AND front_id = %s", days_ago, company, event["event_id"])
    return sent


def left(rig: Rig, table: str = "events") -> int:
    return int(rig.one(f"SELECT count(*)::int FROM {table}"))


def files(rig: Rig) -> list[str]:
    folder = Path(rig.settings.storage.removeprefix("file://"))
    return [path.name for path in folder.rglob("*") if path.is_file()]


def deleted(rig: Rig) -> dict[str, int]:
    return rig.resources.pool.run(lambda conn: read_counters(conn, "deleted:"))


def test_a_finished_event_goes_with_everything_that_belongs_to_it(rig: Rig) -> None:
    tenant(rig)
    mail(rig, days_ago=11, attachment_count=2)
    mail(rig, days_ago=9, attachment_count=1)
    assert len(files(rig)) == 3
    delete_expired(rig.resources)
    assert [left(rig, table) for table in ("events", "deliveries", "actions")] == [1, 1, 1]
    assert rig.one("SELECT count(DISTINCT event_id)::int FROM recipients") == 1
    assert rig.sql("SELECT kind, count(*)::int FROM tasks GROUP BY 1 ORDER BY 1") == [
        ("apply_action", 1),
        ("store_attachment", 1),
    ]
    assert files(rig) == [rig.one("SELECT front_id FROM attachments")]
    assert left(rig, "expired_files") == 0
    assert deleted(rig) == {"events": 1, "files": 2}


def test_nothing_of_tenants_is_deleted_where_it_shall_be_kept_for_ever(rig: Rig) -> None:
    keep(rig, retention_events_days=0, retention_unclaimed_days=0)
    tenant(rig)
    mail(rig, days_ago=4_000)
    mail(rig, "cmp_nobody", days_ago=4_000)
    delete_expired(rig.resources)
    assert left(rig) == 2
    rig.sweep("expire")
    assert rig.messages.sent == []


def test_a_worker_is_asked_every_minute(rig: Rig) -> None:
    rig.sweep("expire")
    assert rig.messages.sent == [(queue.EXPIRE, ())]


def test_open_and_failed_events_stay_and_so_does_what_belongs_to_their_conversation(rig: Rig) -> None:
    tenant_id = tenant(rig)
    [first] = mail(rig, days_ago=12, attachment_count=1)
    rig.resources.pool.run(lambda conn: tenants.pause(conn, tenant_id))
    mail(rig, days_ago=11, conversation=first["conversation_id"])
    delete_expired(rig.resources)
    assert left(rig) == 2
    rig.resources.pool.run(lambda conn: tenants.resume(conn, tenant_id))
    rig.sql("UPDATE events SET state = 'failed' WHERE state = 'processing'")
    delete_expired(rig.resources)
    assert left(rig) == 2
    rig.sql("UPDATE events SET state = 'processing' WHERE state = 'failed'")
    rig.work()
    rig.sql("UPDATE events SET received_at = now() - interval '11 days'")
    delete_expired(rig.resources)
    assert (left(rig), files(rig)) == (0, [])


def test_what_belongs_to_a_conversation_that_was_merged_with_an_open_one_stays(rig: Rig) -> None:
    tenant_id = tenant(rig)
    [first] = mail(rig, days_ago=12)
    rig.resources.pool.run(lambda conn: tenants.pause(conn, tenant_id))
    [second] = mail(rig, days_ago=11)
    rig.sql(
        "INSERT INTO merged_conversations VALUES (%s, %s, %s)",
        tenant_id,
        first["conversation_id"],
        second["conversation_id"],
    )
    delete_expired(rig.resources)
    assert left(rig) == 2


def test_an_event_that_may_still_be_acted_on_stays_so_that_it_is_acted_on_once(rig: Rig) -> None:
    tenant(rig, act_within="20 days")
    mail(rig, days_ago=11)
    delete_expired(rig.resources)
    assert left(rig) == 1
    rig.sql(OLDER, 10, ACME)
    delete_expired(rig.resources)
    assert left(rig) == 0


def test_a_file_of_two_events_goes_with_the_last(rig: Rig) -> None:
    tenant(rig)
    mail(rig, days_ago=11, attachment_count=1)
    mail(rig, days_ago=9, attachment_count=1)
    rig.sql("UPDATE attachments SET (front_id, path) = (SELECT front_id, path FROM attachments ORDER BY id LIMIT 1)")
    shared = rig.one("SELECT DISTINCT front_id FROM attachments")
    delete_expired(rig.resources)
    assert left(rig) == 1
    assert shared in files(rig)
    rig.sql(OLDER, 2, ACME)
    delete_expired(rig.resources)
    assert left(rig) == 0
    assert shared not in files(rig)
    assert deleted(rig) == {"events": 2, "files": 1}


def test_a_file_that_was_stored_without_anybody_saying_so_goes_too(rig: Rig) -> None:
    tenant(rig)
    mail(rig, days_ago=11, attachment_count=1)
    rig.sql("UPDATE attachments SET state = 'discarded', path = NULL, size = NULL, sha256 = NULL")
    delete_expired(rig.resources)
    assert files(rig) == []


def test_a_file_that_could_not_be_deleted_is_tried_again(rig: Rig) -> None:
    tenant(rig)
    mail(rig, days_ago=11, attachment_count=1)
    folder = Path(rig.settings.storage.removeprefix("file://"))
    folder.rename(folder.with_name("away"))
    folder.write_text("no folder")
    delete_expired(rig.resources)
    assert (left(rig), left(rig, "expired_files")) == (0, 1)
    folder.unlink()
    folder.with_name("away").rename(folder)
    delete_expired(rig.resources)
    assert (files(rig), left(rig, "expired_files")) == ([], 0)


def test_a_file_that_comes_again_while_it_is_deleted_is_stored_after_that(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else an event would say that it is stored while it is gone."""
    tenant(rig)
    mail(rig, days_ago=11, attachments=[{"id": "fil_same", "size": 9}])
    delete = rig.resources.storage.delete

    def slowly(*paths: str) -> None:
        mail(rig, days_ago=0, attachments=[{"id": "fil_same", "size": 9}])
        delete(*paths)

    monkeypatch.setattr(rig.resources.storage, "delete", slowly)
    delete_expired(rig.resources)
    rig.hurry()
    rig.work()
    assert rig.sql("SELECT state FROM attachments") == [("stored",)]
    assert files(rig) == ["fil_same"]
    assert rig.one("SELECT attempts FROM tasks WHERE kind = 'store_attachment'") == 1


def test_mail_of_companies_that_nobody_connected_goes_after_its_days(rig: Rig) -> None:
    mail(rig, "cmp_nobody", days_ago=31, count=3)
    mail(rig, "cmp_nobody", days_ago=29)
    delete_expired(rig.resources)
    assert (left(rig), left(rig, "deliveries")) == (1, 1)
    assert deleted(rig) == {"unclaimed": 3}


def test_mail_of_a_company_that_got_a_tenant_is_kept_until_the_tenant_is_connected(rig: Rig) -> None:
    [event] = mail(rig, ACME, days_ago=31)
    tenant_id = rig.resources.pool.run(lambda conn: tenants.add(conn, "Acme", ACME))
    delete_expired(rig.resources)
    assert left(rig) == 1
    token = rig.control("companies", {"id": ACME, "name": "Acme"})["api_token"]
    connect(rig, tenant_id, token)
    rig.sweep("adopt")
    assert rig.sql("SELECT front_id, state FROM events WHERE tenant_id IS NOT NULL") == [(event["event_id"], "done")]


def test_more_than_one_piece_is_deleted_in_one_run(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "EVENTS_AT_ONCE", 2)
    mail(rig, "cmp_nobody", days_ago=31, count=7)
    delete_expired(rig.resources)
    assert left(rig) == 0


def test_while_somebody_else_deletes_nothing_is_deleted_twice(rig: Rig) -> None:
    mail(rig, "cmp_nobody", days_ago=31, count=3)

    def delete(conn: Any) -> None:
        conn.execute("SELECT pg_advisory_xact_lock(%s, %s)", (0x6D720001, 4))
        delete_expired(rig.resources)

    rig.resources.pool.run(delete)
    assert left(rig) == 3
