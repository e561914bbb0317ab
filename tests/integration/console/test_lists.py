"""Each filter of the lists gives the rows that match it, in pages, whatever index it goes by."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from shared.db.reading import events, filters, groups, tasks
from shared.db.reading.filters import Filter, lowest_id
from shared.db.recording.rows import RecipientRow, recipients_json
from tests.integration.console.rows import insert, insert_event, insert_task
from tests.integration.schema.builders import insert_id

if TYPE_CHECKING:
    import psycopg

    from tests.integration.console.conftest import Mailroom

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
        (
            {"since": NOW - timedelta(hours=9, minutes=30), "until": NOW - timedelta(hours=7, minutes=30)},
            ["ignored", "failed"],
        ),
        ({"until": NOW - timedelta(hours=6, minutes=30), "state": "parked"}, []),
        ({"until": NOW, "state": "parked"}, ["held"]),
        ({"state": "done", "code": "bug"}, []),
        ({"state": "processing", "code": "front_unavailable"}, ["working"]),
        ({"state": "parked", "code": "paused"}, ["held"]),
        ({"state": "parked", "code": "unknown_company"}, ["unclaimed"]),
        ({"type": "inbound_received", "state": "failed"}, ["failed"]),
        ({"type": "conversation_moved"}, []),
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
        ({"until": NOW - timedelta(hours=8, minutes=30)}, ["failed", "done"]),
        ({"until": NOW - timedelta(hours=8, minutes=30), "state": "failed"}, ["failed"]),
        ({"type": "inbound_received", "state": "done"}, ["done"]),
        ({"type": "conversation_moved"}, []),
        ({"job": 99}, []),
        ({"conversation_id": "cnv_held"}, ["held"]),
    ],
)
def test_tasks_that_match(
    conn: psycopg.Connection[Any], rows: dict[str, int], wanted: dict[str, Any], found: list[str]
) -> None:
    names = {number: name for name, number in rows.items()}
    listed = [names[each.event_number] for each in tasks.latest(conn, Filter(**wanted), limit=10)]
    assert listed == found


def test_events_of_a_rare_type(conn: psycopg.Connection[Any], rows: dict[str, int]) -> None:
    conn.execute("UPDATE events SET type = 'conversation_moved' WHERE id = %s", (rows["failed"],))
    wanted = Filter(type="conversation_moved")
    assert [each.number for each in events.latest(conn, wanted, limit=10)] == [rows["failed"]]
    assert [each.event_number for each in tasks.latest(conn, wanted, limit=10)] == [rows["failed"]]


def test_events_that_were_recorded_long_after_they_were_received_are_found(
    conn: psycopg.Connection[Any], acme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filters, "OUT_OF_ORDER", 0)
    numbers = []
    for received, recorded in ((50, 50), (30, 30), (29, 29), (49, 10), (48, 9)):  # minutes ago
        times = {
            name: NOW - timedelta(minutes=at) for name, at in (("received_at", received), ("recorded_at", recorded))
        }
        numbers.append(insert_event(conn, front_id=f"evt_{received}", **times))
    first, second, third, late, later = numbers

    def found(**wanted: Any) -> list[int]:
        return [each.number for each in events.latest(conn, Filter(**wanted), limit=10)]

    until = NOW - timedelta(minutes=29, seconds=30)
    assert found(until=until) == [later, late, second, first]
    assert found(until=until, before_id=later) == [late, second, first]
    assert found(until=until, since=NOW - timedelta(minutes=49, seconds=30)) == [later, late, second]
    assert found(until=NOW) == [later, late, third, second, first]


@pytest.mark.parametrize(
    ("email", "is_found"),
    [
        ("nora@acme.example", True),
        ("NORA@ACME.example", True),
        ("n.lind@acme.example", True),  # another address of the same user
        ("ora@acme.example", False),
        ("nora_@acme.example", False),
        ("n%@acme.example", False),
        ('"q\\x"@acme.example', True),
        ("jörg@acme.example", True),
        ("JÖRG@acme.example", True),
        ("17", False),
        ("to", False),
    ],
)
def test_events_of_an_address(
    conn: psycopg.Connection[Any], mailroom: Mailroom, acme: str, email: str, is_found: bool
) -> None:
    addresses = ("--email", "nora@acme.example", "--email", "n.lind@acme.example")
    mailroom("user", "add", "--tenant", acme, "--id", "17", "--name", "Nora", *addresses)
    (user,) = conn.execute("SELECT id FROM users").fetchone() or (None,)
    recipients = [
        RecipientRow(handle="Nora@acme.example", role="to", user_id=user, reason="to = user 17"),
        RecipientRow(handle='"q\\x"@acme.example', role="cc", user_id=None, reason="no user"),
        RecipientRow(handle="Jörg@acme.example", role="cc", user_id=None, reason="no user"),
    ]
    number = insert_event(conn, recipients=recipients_json(recipients))
    insert_event(conn, front_id="evt_2", recipients=None)
    found = [each.number for each in events.latest(conn, Filter(email=email), limit=10)]
    assert found == ([number] if is_found else [])


def test_tasks_of_a_job(conn: psycopg.Connection[Any], rows: dict[str, int]) -> None:
    [failed] = [each.id for each in tasks.latest(conn, Filter(state="failed"), limit=10)]
    job = insert_id(conn, "jobs", verb="retry", words="x", requested_by="nora")
    insert(conn, "job_items", job_id=job, task_id=failed, version=0)
    assert [each.id for each in tasks.latest(conn, Filter(job=job), limit=10)] == [failed]
    assert tasks.latest(conn, Filter(job=job, state="done"), limit=10) == []
    assert tasks.count_in_states(conn, Filter(job=job), ("failed", "ready")) == 1


def test_groups_that_failed_between_two_times(conn: psycopg.Connection[Any], rows: dict[str, int]) -> None:
    conn.execute(
        "UPDATE failure_groups SET first_seen = %s, last_seen = %s", (NOW - timedelta(days=3), NOW - timedelta(days=1))
    )
    for since, until, count in ((2, None, 1), (0, None, 0), (None, 2, 1), (None, 4, 0), (2, 1, 1)):
        times = {
            name: None if days is None else NOW - timedelta(days=days)
            for name, days in (("since", since), ("until", until))
        }
        assert len(groups.latest(conn, Filter(**times), limit=10)) == count, (since, until)


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
