"""Expired events are deleted with their files in batches, except those that are still needed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared import queue
from shared.db.counters import read_counters
from shared.db.host import outbox
from shared.db.tasks import reruns
from shared.db.tenants import tenants
from tests.integration.pipeline.harness import Harness
from tests.integration.pipeline.test_parking import connect
from workers.sweeping import retention
from workers.sweeping.retention import delete_expired, feed_days

ACME, NORA = "cmp_acme", "nora@acme.example"
TO_NORA = [{"handle": NORA, "role": "to"}]
OLDER = "UPDATE events SET received_at = received_at - make_interval(days => %s) WHERE company_id = %s"


@pytest.fixture
def harness(database: str, redis_db: str, tmp_path: Path) -> Iterator[Harness]:
    """A Mailroom that keeps finished events for ten days and mail of unknown companies for thirty."""
    harness = Harness(database, redis_db, tmp_path / "files")
    keep(harness, retention_events_days=10, retention_unclaimed_days=30)
    yield harness
    harness.close()


def keep(harness: Harness, **days: int) -> None:
    object.__setattr__(harness.resources, "settings", harness.settings.model_copy(update=days))


def tenant(harness: Harness, **policy: Any) -> int:
    tenant_id = harness.tenant(ACME, **policy)
    harness.user(tenant_id, NORA)
    return tenant_id


def mail(harness: Harness, company: str = ACME, *, days_ago: int, **order: Any) -> list[dict[str, Any]]:
    """Send and process mail, and date its receipt this many days ago."""
    harness.control("companies", {"id": company, "name": company})
    sent = harness.send("inbound_received", company, recipients=TO_NORA, **order)
    harness.record()
    harness.work()
    for event in sent:
        harness.sql(OLDER + " AND front_id = %s", days_ago, company, event["event_id"])
    return sent


def count_rows(harness: Harness, table: str = "events") -> int:
    return int(harness.one(f"SELECT count(*)::int FROM {table}"))


def files(harness: Harness) -> list[str]:
    folder = Path(harness.settings.storage.removeprefix("file://"))
    return [path.name for path in folder.rglob("*") if path.is_file()]


def deleted(harness: Harness) -> dict[str, int]:
    return harness.resources.pool.run(lambda conn: read_counters(conn, "deleted:"))


def test_a_finished_event_goes_with_everything_that_belongs_to_it(harness: Harness) -> None:
    tenant(harness)
    mail(harness, days_ago=11, attachment_count=2)
    mail(harness, days_ago=9, attachment_count=1)
    assert len(files(harness)) == 3
    delete_expired(harness.resources)
    assert [count_rows(harness, table) for table in ("events", "deliveries", "actions")] == [1, 1, 1]
    assert harness.one("SELECT count(DISTINCT event_id)::int FROM recipients") == 1
    assert harness.sql("SELECT kind, count(*)::int FROM tasks GROUP BY 1 ORDER BY 1") == [
        ("apply_action", 1),
        ("store_attachment", 1),
    ]
    assert files(harness) == [harness.one("SELECT front_id FROM attachments")]
    assert count_rows(harness, "expired_files") == 0
    assert deleted(harness) == {"events": 1, "files": 2}


def test_nothing_of_tenants_is_deleted_where_it_shall_be_kept_for_ever(harness: Harness) -> None:
    keep(harness, retention_events_days=0, retention_unclaimed_days=0)
    tenant(harness)
    mail(harness, days_ago=4_000)
    mail(harness, "cmp_nobody", days_ago=4_000)
    delete_expired(harness.resources)
    assert count_rows(harness) == 2


def test_a_worker_is_asked_every_minute(harness: Harness) -> None:
    harness.sweep("expire")
    assert harness.messages.sent == [(queue.EXPIRE, ())]


def test_open_and_failed_events_stay_and_so_does_what_belongs_to_their_conversation(harness: Harness) -> None:
    tenant_id = tenant(harness)
    [first] = mail(harness, days_ago=12, attachment_count=1)
    harness.resources.pool.run(lambda conn: tenants.pause(conn, tenant_id))
    mail(harness, days_ago=11, conversation=first["conversation_id"])
    delete_expired(harness.resources)
    assert count_rows(harness) == 2
    harness.resources.pool.run(lambda conn: tenants.resume(conn, tenant_id))
    harness.sql("UPDATE events SET state = 'failed' WHERE state = 'processing'")
    delete_expired(harness.resources)
    assert count_rows(harness) == 2
    harness.sql("UPDATE events SET state = 'processing' WHERE state = 'failed'")
    harness.work()
    harness.sql("UPDATE events SET received_at = now() - interval '11 days'")
    delete_expired(harness.resources)
    assert (count_rows(harness), files(harness)) == (0, [])


def test_events_of_a_conversation_merged_with_an_open_one_stay(harness: Harness) -> None:
    tenant_id = tenant(harness)
    [first] = mail(harness, days_ago=12)
    harness.resources.pool.run(lambda conn: tenants.pause(conn, tenant_id))
    [second] = mail(harness, days_ago=11)
    harness.sql(
        "INSERT INTO merged_conversations VALUES (%s, %s, %s)",
        tenant_id,
        first["conversation_id"],
        second["conversation_id"],
    )
    delete_expired(harness.resources)
    assert count_rows(harness) == 2


def test_an_event_that_may_still_be_acted_on_stays_so_that_it_is_acted_on_once(harness: Harness) -> None:
    tenant(harness, act_within="20 days")
    mail(harness, days_ago=11)
    delete_expired(harness.resources)
    assert count_rows(harness) == 1
    harness.sql(OLDER, 10, ACME)
    delete_expired(harness.resources)
    assert count_rows(harness) == 0


def test_a_file_of_two_events_goes_with_the_last(harness: Harness) -> None:
    tenant(harness)
    mail(harness, days_ago=11, attachment_count=1)
    mail(harness, days_ago=9, attachment_count=1)
    harness.sql(
        "UPDATE attachments SET (front_id, path) = (SELECT front_id, path FROM attachments ORDER BY id LIMIT 1)"
    )
    shared = harness.one("SELECT DISTINCT front_id FROM attachments")
    delete_expired(harness.resources)
    assert count_rows(harness) == 1
    assert shared in files(harness)
    harness.sql(OLDER, 2, ACME)
    delete_expired(harness.resources)
    assert count_rows(harness) == 0
    assert shared not in files(harness)
    assert deleted(harness) == {"events": 2, "files": 1}


def test_a_file_that_was_stored_without_anybody_saying_so_goes_too(harness: Harness) -> None:
    tenant(harness)
    mail(harness, days_ago=11, attachment_count=1)
    harness.sql("UPDATE attachments SET state = 'discarded', path = NULL, size = NULL, sha256 = NULL")
    delete_expired(harness.resources)
    assert files(harness) == []


def test_a_file_that_could_not_be_deleted_is_tried_again(harness: Harness) -> None:
    tenant(harness)
    mail(harness, days_ago=11, attachment_count=1)
    folder = Path(harness.settings.storage.removeprefix("file://"))
    folder.rename(folder.with_name("away"))
    folder.write_text("no folder")
    delete_expired(harness.resources)
    assert (count_rows(harness), count_rows(harness, "expired_files")) == (0, 1)
    folder.unlink()
    folder.with_name("away").rename(folder)
    delete_expired(harness.resources)
    assert (files(harness), count_rows(harness, "expired_files")) == ([], 0)


def test_a_file_that_comes_again_while_it_is_deleted_is_stored_after_that(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise an event would show a deleted file as stored."""
    tenant(harness)
    mail(harness, days_ago=11, attachments=[{"id": "fil_same", "size": 9}])
    delete = harness.resources.storage.delete

    def slowly(*paths: str) -> None:
        mail(harness, days_ago=0, attachments=[{"id": "fil_same", "size": 9}])
        delete(*paths)

    monkeypatch.setattr(harness.resources.storage, "delete", slowly)
    delete_expired(harness.resources)
    harness.make_due()
    harness.work()
    assert harness.sql("SELECT state FROM attachments") == [("stored",)]
    assert files(harness) == ["fil_same"]
    assert harness.one("SELECT attempts FROM tasks WHERE kind = 'store_attachment'") == 1


def test_mail_of_companies_that_nobody_connected_goes_after_its_days(harness: Harness) -> None:
    mail(harness, "cmp_nobody", days_ago=31, count=3)
    mail(harness, "cmp_nobody", days_ago=29)
    delete_expired(harness.resources)
    assert (count_rows(harness), count_rows(harness, "deliveries")) == (1, 1)
    assert deleted(harness) == {"unclaimed": 3}


def test_mail_of_a_company_that_got_a_tenant_is_kept_until_the_tenant_is_connected(harness: Harness) -> None:
    [event] = mail(harness, ACME, days_ago=31)
    tenant_id = harness.resources.pool.run(lambda conn: tenants.add(conn, "Acme", ACME))
    delete_expired(harness.resources)
    assert count_rows(harness) == 1
    token = harness.control("companies", {"id": ACME, "name": "Acme"})["api_token"]
    connect(harness, tenant_id, token)
    harness.sweep("adopt")
    assert harness.sql("SELECT front_id, state FROM events WHERE tenant_id IS NOT NULL") == [
        (event["event_id"], "done")
    ]


def test_more_than_one_piece_is_deleted_in_one_run(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "EVENTS_AT_ONCE", 2)
    mail(harness, "cmp_nobody", days_ago=31, count=7)
    delete_expired(harness.resources)
    assert count_rows(harness) == 0


def test_while_somebody_else_deletes_nothing_is_deleted_twice(harness: Harness) -> None:
    mail(harness, "cmp_nobody", days_ago=31, count=3)

    def delete(conn: Any) -> None:
        conn.execute("SELECT pg_advisory_xact_lock(%s, %s)", (0x6D720001, 4))
        delete_expired(harness.resources)

    harness.resources.pool.run(delete)
    assert count_rows(harness) == 3


def number(harness: Harness, *, days_ago: int) -> None:
    """Number all notifications, and date them this many days ago."""
    harness.resources.pool.run(outbox.number)
    harness.sql(
        "UPDATE notifications SET at = now() - make_interval(days => %s) WHERE at > now() - '1 day'::interval", days_ago
    )


def feed(harness: Harness) -> tuple[list[int], int]:
    """Return the positions in the feed, and the first one that is kept."""
    positions = [position for (position,) in harness.sql("SELECT position FROM notifications ORDER BY 1")]
    return positions, harness.one("SELECT first_kept FROM feed_state")


def test_the_end_of_the_feed_is_cut_before_the_events_of_its_notifications_are_deleted(harness: Harness) -> None:
    keep(harness, retention_events_days=10, retention_feed_days=5)
    tenant(harness)
    harness.sql("DELETE FROM outbox")  # the tenant was connected
    mail(harness, days_ago=12)
    number(harness, days_ago=4)
    delete_expired(harness.resources)
    assert (count_rows(harness), *feed(harness)) == (1, [1, 2], 1)
    number(harness, days_ago=4)
    harness.sql("UPDATE notifications SET at = at - interval '2 days'")
    delete_expired(harness.resources)
    assert (count_rows(harness), *feed(harness)) == (0, [], 3)


def test_only_the_end_of_the_feed_is_cut(harness: Harness) -> None:
    keep(harness, retention_events_days=0, retention_feed_days=5)
    for days_ago in (7, 6, 1, 8, 2):  # the fourth waits until the third may go
        harness.sql("INSERT INTO outbox (type, at) VALUES ('ping', now() - make_interval(days => %s))", days_ago)
    harness.resources.pool.run(outbox.number)
    delete_expired(harness.resources)
    assert feed(harness) == ([3, 4, 5], 3)


def test_the_feed_is_not_kept_longer_than_events(harness: Harness) -> None:
    assert feed_days(harness.settings.model_copy(update={"retention_events_days": 10, "retention_feed_days": 30})) == 10
    assert feed_days(harness.settings.model_copy(update={"retention_events_days": 0, "retention_feed_days": 30})) == 30


def test_bodies_and_files_are_cut_before_the_rows(harness: Harness) -> None:
    keep(harness, retention_content_days=3, retention_events_days=10)
    tenant(harness)
    mail(harness, days_ago=4, attachment_count=1)
    mail(harness, days_ago=2, attachment_count=1)
    delete_expired(harness.resources)
    assert harness.sql("SELECT body IS NULL FROM deliveries ORDER BY received_at, event_id") == [(True,), (False,)]
    assert harness.sql("SELECT state, path IS NULL, size > 0 FROM attachments ORDER BY event_id") == [
        ("stored", True, True),
        ("stored", False, True),
    ]
    assert len(files(harness)) == 1
    assert harness.one("SELECT count(DISTINCT event_id)::int FROM recipients") == 2
    assert deleted(harness) == {"bodies": 1, "files": 1}
    harness.sql(OLDER, 7, ACME)
    delete_expired(harness.resources)
    assert (count_rows(harness), count_rows(harness, "postponed_cuts"), files(harness)) == (1, 0, [])


def test_content_that_is_still_needed_is_cut_once_it_is_not(harness: Harness) -> None:
    keep(harness, retention_content_days=3, retention_events_days=0)
    tenant(harness)
    mail(harness, days_ago=4, attachment_count=1)
    mail(harness, days_ago=5)
    harness.sql("UPDATE events SET state = 'failed' WHERE id = (SELECT min(id) FROM events)")
    for _ in range(2):
        delete_expired(harness.resources)
        assert harness.sql("SELECT body IS NULL FROM deliveries ORDER BY event_id") == [(False,), (True,)]
        assert (len(files(harness)), count_rows(harness, "postponed_cuts")) == (1, 1)
    harness.sql("UPDATE events SET state = 'done'")
    delete_expired(harness.resources)
    assert harness.one("SELECT count(*)::int FROM deliveries WHERE body IS NOT NULL") == 0
    assert (files(harness), count_rows(harness, "postponed_cuts")) == ([], 0)


def test_a_file_that_was_deleted_for_its_age_can_be_fetched_again(harness: Harness) -> None:
    keep(harness, retention_content_days=3, retention_events_days=0)
    tenant(harness)
    mail(harness, days_ago=4, attachment_count=1)
    delete_expired(harness.resources)
    event_id = harness.one("SELECT id FROM events")
    harness.resources.pool.run(lambda conn: reruns.rerun_tasks(conn, event_id, "store_attachment"))
    harness.work()
    assert len(files(harness)) == 1
    assert harness.one("SELECT path IS NOT NULL FROM attachments") is True


def test_a_cut_walks_over_any_number_of_events(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "EVENTS_AT_ONCE", 2)
    keep(harness, retention_content_days=3, retention_events_days=0)
    tenant(harness)
    mail(harness, days_ago=4, count=5)
    mail(harness, days_ago=1)
    delete_expired(harness.resources)
    assert harness.one("SELECT count(*)::int FROM deliveries WHERE body IS NOT NULL") == 1
    harness.sql(OLDER, 3, ACME)
    delete_expired(harness.resources)
    assert harness.one("SELECT count(*)::int FROM deliveries WHERE body IS NOT NULL") == 0


@pytest.mark.parametrize(("days", "left"), [(0, 2), (30, 1), (5, 1)])
def test_failed_events_stay_longer(harness: Harness, days: int, left: int) -> None:
    """With fewer days than finished events have, they stay for as long as those."""
    keep(harness, retention_events_days=10, retention_failed_days=days)
    tenant(harness)
    mail(harness, days_ago=31 if days == 30 else 11, attachment_count=1)
    mail(harness, days_ago=9)
    harness.sql("UPDATE events SET state = 'failed'")
    delete_expired(harness.resources)
    assert (count_rows(harness), len(files(harness))) == (left, left - 1)


def test_a_failed_event_stays_while_its_conversation_is_in_work(harness: Harness) -> None:
    keep(harness, retention_failed_days=10)
    tenant(harness)
    [first] = mail(harness, days_ago=11)
    harness.sql("UPDATE events SET state = 'failed'")
    mail(harness, days_ago=1, conversation=first["conversation_id"])
    harness.sql("UPDATE events SET state = 'processing' WHERE state <> 'failed'")
    delete_expired(harness.resources)
    assert count_rows(harness) == 2
    harness.sql("UPDATE events SET state = 'done' WHERE state = 'processing'")
    delete_expired(harness.resources)
    assert count_rows(harness) == 1
