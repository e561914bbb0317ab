"""The console's metrics tell the figures of the whole installation, and that PostgreSQL is away if it is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from console.installation_metrics import InstallationMetrics
from console.web.lookups import Lookups
from shared.db import figures
from shared.db.core.pool import open_pool
from shared.db.figures import Tally
from shared.settings import Settings
from tests.integration.console.rows import insert_event, insert_task
from tests.integration.schema.builders import insert

if TYPE_CHECKING:
    import psycopg

NOW = datetime.now(UTC)


def samples(database: str, redis_db: str) -> dict[tuple[str, ...], float]:
    settings = Settings(database_url=database, redis_url=redis_db)  # type: ignore[arg-type] # read as from the environment
    pool = open_pool(settings, size=1, application_name="test")
    try:
        found = list(InstallationMetrics(pool, Lookups(settings, pool)).collect())
    finally:
        pool.close()
    return {
        (sample.name, *sample.labels.values()): sample.value for metric in found for sample in metric.samples
    }  # fmt: skip


@pytest.fixture
def rows(conn: psycopg.Connection[Any]) -> None:
    """Two failed tasks, one that is due, a parked tenant, two workers of which one is silent, and figures."""
    insert(conn, "tenants", name="Acme", company_id="cmp_acme")
    insert(conn, "tenants", name="Idle", company_id="cmp_idle", parked_cause="paused", parked_at=NOW)
    for number, code in enumerate(("bug", "bug", None)):
        event = insert_event(conn, front_id=f"evt_{number}")
        state = "failed" if code else "ready"
        insert_task(conn, event, state=state, code=code, due_at=NOW - timedelta(minutes=2))
    insert(conn, "processes", name="worker@a:1", kind="worker", started_at=NOW - timedelta(hours=1))
    insert(conn, "processes", name="worker@b:1", kind="worker", seen_at=NOW - timedelta(minutes=1))
    insert(conn, "counters", name="rescued", value=3)
    tally = Tally()
    tally.add("received", NOW, {None: 12})
    tally.add("calls_refused", NOW - timedelta(days=40), {None: 5})
    with conn.transaction():
        figures.add(conn, tally)
        figures.delete_old(conn, limit=10)


@pytest.mark.usefixtures("rows")
def test_all_figures_are_shown(database: str, redis_db: str) -> None:
    shown = samples(database, redis_db)
    assert shown["mailroom_oldest_age_seconds", "due"] > 110
    expected = {
        ("mailroom_postgresql_up",): 1,
        ("mailroom_redis_up",): 1,
        ("mailroom_received_deliveries_total",): 12,
        ("mailroom_front_requests_refused_total",): 5,
        ("mailroom_queue_depth", "intake"): 0,
        ("mailroom_queue_depth", "due"): 1,
        ("mailroom_failed_open", "bug"): 2,
        ("mailroom_tenants", "works"): 1,
        ("mailroom_tenants", "paused"): 1,
        ("mailroom_processes", "worker", "alive"): 1,
        ("mailroom_processes", "worker", "silent"): 1,
        ("mailroom_rescued_total",): 3,
    }
    assert {name: shown.get(name) for name in expected} == expected


def test_without_postgresql_they_say_so(redis_db: str) -> None:
    assert samples("postgresql://nobody@127.0.0.1:9/none", redis_db) == {
        ("mailroom_redis_up",): 1,
        ("mailroom_postgresql_up",): 0,
    }
