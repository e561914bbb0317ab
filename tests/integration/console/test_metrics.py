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
from shared.db.reading.monitoring import silent_tenants
from shared.settings import Settings
from tests.integration.console.rows import insert_event, insert_task
from tests.integration.schema.builders import insert

if TYPE_CHECKING:
    import psycopg

NOW = datetime.now(UTC)


def samples(database: str, redis_db: str, *, ready: bool = True) -> dict[tuple[str, ...], float]:
    settings = Settings(database_url=database, redis_url=redis_db)  # type: ignore[arg-type] # read as from the environment
    pool = open_pool(settings, size=2, application_name="test")
    lookups = Lookups(settings, pool)
    try:
        for lookup in (lookups.monitored_checks, lookups.monitored_tenants) if ready else ():
            lookup.get()
        found = list(InstallationMetrics(pool, lookups).collect())
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
    assert shown["mailroom_oldest_task_seconds", "apply_action"] > 110
    assert shown["mailroom_oldest_task_seconds", "store_attachment"] == 0
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
        ("mailroom_processes", "recorder", "alive"): 0,
        ("mailroom_token_refreshes_total", "needs_reconnect"): 0,
        ("mailroom_new_failure_groups",): 1,
        ("mailroom_check_ok", "migrations"): 1,
        ("mailroom_check_ok", "processes"): 0,
        ("mailroom_rescued_total",): 3,
    }
    assert {name: shown.get(name) for name in expected} == expected


def test_without_postgresql_they_say_so(redis_db: str) -> None:
    shown = samples("postgresql://nobody@127.0.0.1:9/none", redis_db, ready=False)
    known = {name: value for name, value in shown.items() if not name[0].startswith("mailroom_redis_memory")}
    assert known == {("mailroom_redis_up",): 1, ("mailroom_postgresql_up",): 0}


def test_busy_tenants_have_figures_of_their_own(conn: psycopg.Connection[Any], database: str, redis_db: str) -> None:
    now = datetime.now(UTC)  # the figures are of the last minutes before it
    insert(conn, "tenants", name="Acme", company_id="cmp_acme", parked_cause="paused", parked_at=now)
    insert(conn, "tenants", name="Idle", company_id="cmp_idle")
    insert_task(conn, insert_event(conn), state="ready", due_at=now - timedelta(minutes=2))
    write_figures(conn, received={now - timedelta(minutes=2): 7, now - timedelta(minutes=20): 9})
    shown = samples(database, redis_db)
    assert shown["mailroom_tenant_recent", "Acme", "received"] == 7
    assert shown["mailroom_tenant_parked", "Acme"] == 1
    assert shown["mailroom_tenant_oldest_age_seconds", "Acme"] > 110
    assert {name for name in shown if "Idle" in name} == set()


def write_figures(conn: psycopg.Connection[Any], *, received: dict[datetime, int]) -> None:
    """Write how much the tenant with the name Acme received in these minutes."""
    row = conn.execute("SELECT id FROM tenants WHERE name = 'Acme'").fetchone()
    assert row
    tally = Tally()
    for minute, count in received.items():
        tally.add("received", minute, {row[0]: count})
    with conn.transaction():
        figures.add(conn, tally)


WEEK = {NOW - timedelta(days=day, minutes=30): 20 for day in range(1, 8)}


@pytest.mark.parametrize(
    ("received", "parked", "silent"),
    [
        (WEEK, None, 1),
        (WEEK | {NOW - timedelta(minutes=50): 1}, None, 0),
        (WEEK | {NOW - timedelta(minutes=70): 1}, None, 1),
        (WEEK, "paused", 0),
        (WEEK, "needs_reconnect", 1),
        (WEEK | {NOW - timedelta(days=7, minutes=30): 19}, None, 0),
        ({NOW - timedelta(days=7, minutes=30): 139}, None, 0),
        ({}, None, 0),
    ],
)
def test_a_tenant_that_is_usually_busy_at_this_hour_went_silent(
    conn: psycopg.Connection[Any], received: dict[datetime, int], parked: str | None, silent: int
) -> None:
    insert(conn, "tenants", name="Acme", company_id="cmp_acme", parked_cause=parked, parked_at=parked and NOW)
    write_figures(conn, received=received)
    assert silent_tenants(conn) == ["Acme"] * silent
