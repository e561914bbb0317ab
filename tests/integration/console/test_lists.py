"""Each filter of the lists gives the rows that match it, in pages, whatever index it goes by."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from shared.db.reading import events, tasks
from shared.db.reading.filters import Filter, lowest_id
from tests.integration.console.rows import insert_event, insert_task

if TYPE_CHECKING:
    import psycopg

NOW = datetime.now(UTC)


@pytest.fixture
def rows(conn: psycopg.Connection[Any], acme: str) -> dict[str, int]:
    """Insert an event in each state, each with a task, an hour apart; return the events' numbers."""
    tenants = {"Acme": "cmp_acme", "Parked": "cmp_parked"}
    conn.execute("INSERT INTO tenants (name, company_id, parked_cause) VALUES ('Parked', 'cmp_parked', 'paused')")
    given: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
        ("done", "Acme", {"state": "done"}, {"state": "done", "code": None}),
        ("failed", "Acme", {"state": "failed", "cause": "bug"}, {"code": "bug"}),
        ("ignored", "Acme", {"state": "ignored", "cause": "unknown_type"}, {"state": "superseded", "code": None}),
        ("working", "Acme", {"state": "processing"}, {"state": "ready", "code": "front_unavailable"}),
        ("held", "Parked", {"state": "processing"}, {"state": "ready", "code": None, "kind": "fetch_message"}),
    ]
    numbers = {}
    for hours, (name, tenant, event, task) in enumerate(given):
        at = NOW - timedelta(hours=10 - hours)
        times = {"received_at": at, "recorded_at": at}
        conversation = {"conversation_id": f"cnv_{name}"}
        numbers[name] = insert_event(
            conn, front_id=f"evt_{name}", company=tenants[tenant], **event, **times, **conversation
        )
        insert_task(conn, numbers[name], created_at=at, **task)
    unclaimed = {"state": "parked", "cause": "unknown_company", "received_at": NOW, "recorded_at": NOW}
    numbers["unclaimed"] = insert_event(
        conn, front_id="evt_u", company="cmp_nobody", conversation_id="cnv_u", **unclaimed
    )
    return numbers


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, ["unclaimed", "held", "working", "ignored", "failed", "done"]),
        ({"state": "done"}, ["done"]),
        ({"state": "failed"}, ["failed"]),
        ({"state": "ignored"}, ["ignored"]),
        ({"state": "processing"}, ["working"]),
        ({"state": "parked"}, ["unclaimed", "held"]),
        ({"state": "no such"}, []),
        ({"code": "bug"}, ["failed"]),
        ({"code": "front_unavailable"}, ["working"]),
        ({"code": "unknown_company"}, ["unclaimed"]),
        ({"code": "paused"}, ["held"]),
        ({"kind": "fetch_message"}, ["held"]),
        ({"kind": "apply_action", "state": "failed"}, ["failed"]),
        ({"since": NOW - timedelta(hours=7, minutes=30)}, ["unclaimed", "held", "working"]),
        ({"until": NOW - timedelta(hours=8, minutes=30)}, ["failed", "done"]),
        ({"conversation_id": "cnv_u"}, ["unclaimed"]),
        ({"conversation_id": "cnv_held"}, ["held"]),
    ],
)
def test_events_that_match(
    conn: psycopg.Connection[Any], rows: dict[str, int], wanted: dict[str, Any], found: list[str]
) -> None:
    names = {number: name for name, number in rows.items()}
    listed = [names[each.number] for each in events.latest(conn, Filter(**wanted), limit=10)]
    assert listed == found
    first = events.latest(conn, Filter(**wanted), limit=1)
    assert [names[each.number] for each in first] == found[:1]
    if first:
        rest = events.latest(conn, Filter(**wanted, before_id=first[0].number), limit=10)
        assert [names[each.number] for each in rest] == found[1:]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, ["held", "working", "ignored", "failed", "done"]),
        ({"state": "done"}, ["done"]),
        ({"state": "failed"}, ["failed"]),
        ({"state": "superseded"}, ["ignored"]),
        ({"state": "ready"}, ["working"]),
        ({"state": "queued"}, []),
        ({"state": "running"}, []),
        ({"state": "parked"}, ["held"]),
        ({"code": "front_unavailable"}, ["working"]),
        ({"kind": "fetch_message"}, ["held"]),
        ({"since": NOW - timedelta(hours=7, minutes=30)}, ["held", "working"]),
        ({"conversation_id": "cnv_held"}, ["held"]),
    ],
)
def test_tasks_that_match(
    conn: psycopg.Connection[Any], rows: dict[str, int], wanted: dict[str, Any], found: list[str]
) -> None:
    names = {number: name for name, number in rows.items()}
    listed = [names[each.event_number] for each in tasks.latest(conn, Filter(**wanted), limit=10)]
    assert listed == found


@pytest.mark.usefixtures("rows")
def test_tasks_of_a_tenant(conn: psycopg.Connection[Any]) -> None:
    row = conn.execute("SELECT id FROM tenants WHERE name = 'Parked'").fetchone()
    assert row
    for state, count in ((None, 1), ("parked", 1), ("failed", 0), ("done", 0)):
        assert len(tasks.latest(conn, Filter(tenant_id=row[0], state=state), limit=10)) == count


@pytest.mark.usefixtures("acme")
def test_the_place_of_a_time_among_the_ids_is_found(conn: psycopg.Connection[Any]) -> None:
    conn.execute(
        "INSERT INTO events (id, company_id, front_id, type, received_at, recorded_at, state) OVERRIDING SYSTEM VALUE"
        " SELECT 1000000 + n * 1000, 'cmp_x', 'evt_' || n, 't', now(), %s - n * interval '-1 minute', 'done'"
        " FROM generate_series(1, 100) n",
        (NOW,),
    )
    place = 1_000_000 + 61 * 1_000
    assert lowest_id(conn, "events", "recorded_at", NOW + timedelta(minutes=60, seconds=30)) == place - 20_000 - 999
