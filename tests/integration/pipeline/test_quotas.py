"""A tenant that has used up a quota loses nothing: its files wait at Front, and everything else goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.db.tenants import quotas, tenants
from shared.db.tenants.tenants import PolicyChange
from tests.integration.pipeline.harness import NORA, TO_NORA, Harness
from workers.sweeping.retention import delete_expired

ACME, OTHER = "cmp_acme", "cmp_other"
FILE = {"filename": "a.pdf", "size": 1_000}


@pytest.fixture
def harness(database: str, redis_db: str, tmp_path: Path) -> Iterator[Harness]:
    harness = Harness(database, redis_db, tmp_path / "files")
    yield harness
    harness.close()


def mail(harness: Harness, company: str = ACME, **order: Any) -> dict[str, Any]:
    [sent] = harness.send("inbound_received", company, recipients=TO_NORA, **{"attachments": [FILE], **order})
    harness.record()
    harness.resources.figures.write()
    return sent


def files_of(harness: Harness, tenant_id: int) -> dict[str, int]:
    return dict(harness.sql("SELECT state, count(*)::int FROM attachments WHERE tenant_id = %s GROUP BY 1", tenant_id))


def set_quota(harness: Harness, tenant_id: int, **quota: int) -> None:
    harness.resources.pool.run(lambda conn: tenants.set_policy(conn, tenant_id, PolicyChange(**quota)))
    harness.sweep("watch_quotas")


def held(harness: Harness) -> list[tuple[str, str]]:
    return [(each.tenant, each.quota) for each in harness.resources.pool.run(quotas.held_tenants)]


def test_files_wait_for_room_and_then_are_stored(harness: Harness) -> None:
    tenant_id, other = harness.tenant(ACME), harness.tenant(OTHER, "Other")
    harness.user(tenant_id, NORA)
    mail(harness)
    harness.work()
    set_quota(harness, tenant_id, max_stored_bytes=1_000)
    assert held(harness) == [("Acme", "stored_bytes")]
    sent = mail(harness)
    mail(harness, OTHER)
    without_file = mail(harness, attachments=[])
    harness.work()
    assert (files_of(harness, tenant_id), files_of(harness, other)) == ({"stored": 1, "waiting": 1}, {"stored": 1})
    assert harness.status(sent["conversation_id"]) != "archived"
    assert harness.status(without_file["conversation_id"]) == "archived"
    assert harness.one("SELECT attempts FROM tasks WHERE state = 'ready' AND kind = 'store_attachment'") == 0
    set_quota(harness, tenant_id, max_stored_bytes=5_000)
    assert held(harness) == []
    harness.work()
    assert files_of(harness, tenant_id) == {"stored": 2}
    assert harness.status(sent["conversation_id"]) == "archived"


def test_deleted_files_make_room(harness: Harness) -> None:
    tenant_id = harness.tenant(ACME)
    mail(harness)
    harness.work()
    set_quota(harness, tenant_id, max_stored_bytes=1_000)
    object.__setattr__(harness.resources, "settings", harness.settings.model_copy(update={"retention_content_days": 3}))
    harness.sql("UPDATE events SET received_at = now() - interval '4 days'")
    delete_expired(harness.resources)
    harness.sweep("watch_quotas")
    assert held(harness) == []
    assert harness.one("SELECT stored_bytes FROM tenants") == 0


def test_a_file_of_several_events_counts_once(harness: Harness) -> None:
    tenant_id = harness.tenant(ACME)
    for _ in range(2):
        mail(harness, attachments=[{**FILE, "id": "fil_same"}])
    harness.work()
    set_quota(harness, tenant_id, max_stored_bytes=5_000)
    assert harness.one("SELECT stored_bytes FROM tenants") == 1_000


def test_a_days_quota_ends_with_the_day(harness: Harness) -> None:
    tenant_id = harness.tenant(ACME)
    set_quota(harness, tenant_id, max_events_a_day=2)
    for _ in range(2):
        mail(harness)
    harness.sweep("watch_quotas")
    assert held(harness) == [("Acme", "events_a_day")]
    since = harness.one("SELECT files_held_at FROM tenants")
    mail(harness)
    harness.sweep("watch_quotas")
    assert harness.one("SELECT files_held_at FROM tenants") == since
    assert harness.one("SELECT count(*)::int FROM events") == 3
    harness.sql("UPDATE minute_figures SET minute = minute - interval '1 day'")
    harness.sweep("watch_quotas")
    harness.work()
    assert (held(harness), files_of(harness, tenant_id)) == ([], {"stored": 3})


def test_a_quota_is_taken_away_by_zero(harness: Harness) -> None:
    tenant_id = harness.tenant(ACME)
    mail(harness)
    harness.work()
    set_quota(harness, tenant_id, max_stored_bytes=1)
    set_quota(harness, tenant_id, max_stored_bytes=0)
    assert held(harness) == []
    assert harness.one("SELECT max_stored_bytes FROM tenants") is None
