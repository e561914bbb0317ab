"""Every delivery becomes complete rows once, and no delivery stops the recorder."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from shared.db.core.pool import Connection
from shared.db.recording import spool, statements
from shared.errors import StoreUnavailable
from shared.models import Delivery, EventKey
from tests.integration.pipeline.harness import Harness
from workers.recording import prepare

PAYLOADS = Path(__file__).parents[2] / "payloads"
NORA = "nora@acme.example"


def envelope(**changes: Any) -> dict[str, Any]:
    """Return a small inbound message for Nora with these changes."""
    message = {
        "id": "msg_1",
        "is_inbound": True,
        "recipients": [{"handle": NORA, "role": "to"}],
        "attachments": [],
        **changes.pop("message", {}),
    }
    payload = {
        "id": "evt_1",
        "type": "inbound",
        "emitted_at": 1786440070.93,
        "conversation": {"id": "cnv_1"},
        "source": {"_meta": {"type": "inboxes"}, "data": []},
        "target": {"_meta": {"type": "message"}, "data": message},
        **changes.pop("payload", {}),
    }
    return {"type": "inbound_received", "authorization": {"id": "cmp_acme"}, "payload": payload, **changes}


def receive(harness: Harness, **changes: Any) -> str:
    return harness.receive(json.dumps(envelope(**changes)).encode())


def test_the_raw_body_is_kept_once_byte_for_byte(harness: Harness) -> None:
    harness.tenant("cmp_acme")
    body = json.dumps(envelope(), ensure_ascii=False).encode() + b"  "
    for _ in range(3):
        harness.receive(body)
    harness.record()
    rows = harness.sql("SELECT body FROM deliveries ORDER BY body IS NULL")
    assert [zlib.decompress(body) if body else None for (body,) in rows] == [body, None, None]


def test_many_deliveries_of_one_event_are_one_event(harness: Harness) -> None:
    harness.tenant("cmp_acme")
    for _ in range(5):
        receive(harness)
    harness.record()
    receive(harness)
    harness.record()
    assert harness.one("SELECT count(*)::int FROM events") == 1
    assert harness.one("SELECT count(*)::int FROM deliveries") == 6
    assert harness.one("SELECT count(*)::int FROM tasks") == 0 + len(
        harness.sql("SELECT 1 FROM actions WHERE state = 'planned'")
    )


@pytest.mark.parametrize("payload", [{}, {"id": None}])
@pytest.mark.parametrize("company", ["cmp_acme", "cmp_nobody"])
@pytest.mark.parametrize("from_spool", [False, True])
def test_a_webhook_that_is_replayed_leaves_one_body(
    harness: Harness, payload: dict[str, None], company: str, from_spool: bool
) -> None:
    harness.tenant("cmp_acme")
    body = json.dumps(envelope(authorization={"id": company}, payload=payload)).encode()
    for replay in range(6):
        if from_spool and replay:
            new = Delivery(id=f"{replay:032x}", received_at=datetime.now(UTC), body=body)
            harness.resources.pool.run(lambda conn, new=new: spool.add(conn, [new]))
        else:
            harness.receive(body)
        harness.record()
    assert harness.sql("SELECT count(*)::int, count(body)::int, count(DISTINCT event_id)::int FROM deliveries") == [
        (6, 1, 1)
    ]


def test_recording_an_entry_twice_changes_nothing(harness: Harness) -> None:
    harness.tenant("cmp_acme")
    receive(harness)
    entries = harness.resources.intake.read()
    harness.record()
    harness.resources.intake.put([entry.delivery for entry in entries])  # as after a crash before the delete
    harness.record()
    assert harness.one("SELECT count(*)::int FROM deliveries") == 1


def test_two_companies_may_share_every_id(harness: Harness) -> None:
    first, second = harness.tenant("cmp_acme"), harness.tenant("cmp_other", "Other")
    for tenant in (first, second):
        harness.user(tenant, NORA)
    receive(harness)
    receive(harness, authorization={"id": "cmp_other"})
    harness.record()
    assert harness.sql("SELECT tenant_id, count(*)::int FROM events GROUP BY 1 ORDER BY 1") == [(first, 1), (second, 1)]
    assert harness.sql(
        "SELECT r.tenant_id = u.tenant_id FROM recipients r JOIN users u ON u.id = r.user_id WHERE r.role = 'to'"
    ) == [(True,), (True,)]


def test_pieces_of_a_chunk_are_recorded_as_one(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "GROUP_SIZE", 2)
    harness.tenant("cmp_acme")
    for number in (3, 1, 2, 5, 1, 4, 3):
        receive(harness, payload={"id": f"evt_{number}"})
    harness.record()
    rows = harness.sql(
        "SELECT e.front_id, count(*)::int, count(d.body)::int FROM events e JOIN deliveries d ON d.event_id = e.id"
        " GROUP BY 1 ORDER BY 1"
    )
    assert rows == [("evt_1", 2, 1), ("evt_2", 1, 1), ("evt_3", 2, 1), ("evt_4", 1, 1), ("evt_5", 1, 1)]
    assert harness.one("SELECT count(*)::int FROM recipients") == 5


def test_an_event_that_another_recorder_wrote_meanwhile_is_not_written_again(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.tenant("cmp_acme")
    receive(harness)
    written = "INSERT INTO events (company_id, front_id, type, received_at, state)"
    others = iter([f"{written} VALUES ('cmp_acme', 'evt_1', 'inbound_received', now(), 'done')"])
    real = statements.known_events

    def overtaken(conn: Connection, keys: Iterable[EventKey]) -> dict[EventKey, int]:
        known = real(conn, keys)
        for statement in others:
            harness.sql(statement)
        return known

    monkeypatch.setattr(statements, "known_events", overtaken)
    harness.record()
    assert harness.sql("SELECT state FROM events") == [("done",)]
    assert harness.one("SELECT count(*)::int FROM deliveries JOIN events ON events.id = event_id") == 1
    assert harness.one("SELECT count(*)::int FROM recipients") == 0


@pytest.mark.parametrize(
    ("changes", "state", "cause"),
    [
        ({"type": "something_new"}, "ignored", "unknown_type"),
        ({"authorization": {"id": "cmp_nobody"}}, "parked", "unknown_company"),
        ({"type": "tag_added"}, "done", None),
    ],
)
def test_an_event_without_work_is_recorded_with_its_cause(
    harness: Harness, changes: dict[str, Any], state: str, cause: str | None
) -> None:
    harness.tenant("cmp_acme")
    body = envelope(**{name: value for name, value in changes.items() if name != "payload"})
    if "payload" in changes:
        body["payload"] = changes["payload"]
    harness.receive(json.dumps(body).encode())
    harness.record()
    assert harness.sql("SELECT state, cause FROM events") == [(state, cause)]
    assert harness.sql("SELECT 1 FROM tasks") == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[1, 2]",
        b"null",
        b'"text"',
        b'{"type": "inbound_received"}',
        b'{"authorization": {"id": "cmp_acme"}}',
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b'{"type": "inbound_received", "authorization": {"id": "cmp_acme"}, "payload": {"emitted_at": NaN}}',
        b'{"type": "inbound_received", "authorization": {"id": "cmp_acme"}, "payload": {"emitted_at": %s}}'
        % (b"9" * 5_000),
    ],
    ids=lambda body: repr(body[:20]),
)
def test_a_body_that_cannot_be_read_is_a_visible_failure_and_stops_nobody(harness: Harness, body: bytes) -> None:
    harness.tenant("cmp_acme")
    harness.receive(body)
    receive(harness)
    assert harness.record() == 2
    assert harness.sql("SELECT state, count(*)::int FROM events WHERE type = 'malformed' GROUP BY 1") == [("failed", 1)]
    assert harness.sql("SELECT kind, code FROM tasks WHERE state = 'failed'") == [("record", "malformed_envelope")]
    assert harness.one("SELECT count(*)::int FROM events WHERE type = 'inbound_received'") == 1
    kept = harness.one("SELECT d.body FROM deliveries d JOIN events e ON e.id = d.event_id WHERE e.type = 'malformed'")
    assert zlib.decompress(kept) == body


def test_hostile_text_is_stored_and_shown_as_what_it_is(harness: Harness) -> None:
    tenant = harness.tenant("cmp_acme")
    harness.user(tenant, NORA)
    handles = [
        "\x00nul@acme.example",
        "\ud800@acme.example",
        "no address",
        "a@b\r\nBcc: x@y",
        "x" * 5_000 + "@y.example",
    ]
    names = ["../../etc/passwd", "n" * 300, "\u202egnp.exe", "a\x00b", "\ud83d"]
    receive(
        harness,
        message={
            "recipients": [{"handle": handle, "role": "cc"} for handle in handles] + [{"handle": NORA, "role": "to"}],
            "attachments": [
                {"id": f"fil_{n}", "filename": name, "url": "https://evil.example/x"} for n, name in enumerate(names)
            ],
        },
    )
    harness.record()
    assert harness.one("SELECT count(*)::int FROM recipients") == 6
    assert harness.one("SELECT count(*)::int FROM recipients WHERE user_id IS NOT NULL") == 1
    assert harness.one("SELECT count(*)::int FROM attachments") == 5


def test_an_event_without_an_id_is_told_apart_by_its_body(harness: Harness) -> None:
    harness.tenant("cmp_acme")
    for emitted_at in (1786440070, 1786440070, 1786440071):
        receive(harness, payload={"id": None, "emitted_at": emitted_at})
    harness.record()
    assert harness.one("SELECT count(*)::int FROM events") == 2


def test_a_spooled_delivery_is_recorded_and_gone_from_the_spool(harness: Harness) -> None:
    harness.tenant("cmp_acme")
    receive(harness)
    [entry] = harness.resources.intake.read()
    harness.resources.intake.delete([entry.entry_id])
    harness.resources.pool.run(lambda conn: spool.add(conn, [entry.delivery]))
    assert harness.record() == 1
    assert harness.sql("SELECT origin FROM deliveries") == [("spooled",)]
    assert harness.sql("SELECT 1 FROM spooled_deliveries") == []


def test_all_that_is_spooled_is_recorded_at_once_while_redis_is_away(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.tenant("cmp_acme")
    monkeypatch.setattr(harness.resources.recorder._reader, "_size", 200)
    bodies = [json.dumps(envelope(payload={"id": f"evt_{number}"})).encode() for number in range(450)]
    spooled = [Delivery(id=f"{number:032x}", received_at=NOON, body=body) for number, body in enumerate(bodies)]
    harness.resources.pool.run(lambda conn: spool.add(conn, spooled))
    monkeypatch.setattr(harness.resources.intake, "read", away)
    with pytest.raises(StoreUnavailable):
        harness.record()
    assert harness.one("SELECT count(*)::int FROM events") == 450
    assert harness.sql("SELECT 1 FROM spooled_deliveries") == []


def test_large_bodies_that_are_spooled_are_recorded_at_once_while_redis_is_away(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bytes of these bodies fill a chunk."""
    harness.tenant("cmp_acme")
    bodies = [json.dumps(envelope(payload={"id": f"evt_{number}", "pad": "x" * 2**20})).encode() for number in range(7)]
    spooled = [Delivery(id=f"{number:032x}", received_at=NOON, body=body) for number, body in enumerate(bodies)]
    harness.resources.pool.run(lambda conn: spool.add(conn, spooled))
    monkeypatch.setattr(harness.resources.intake, "read", away)
    with pytest.raises(StoreUnavailable):
        harness.record()
    assert harness.one("SELECT count(*)::int FROM events") == 7


NOON = datetime(2026, 8, 11, 12, tzinfo=UTC)


def away(*_: Any, **__: Any) -> None:
    raise StoreUnavailable("away")


def test_a_delivery_both_in_intake_and_spool_is_recorded_once(harness: Harness) -> None:
    harness.tenant("cmp_acme")
    receive(harness)
    [entry] = harness.resources.intake.read()
    harness.resources.pool.run(lambda conn: spool.add(conn, [entry.delivery]))
    harness.record()
    assert harness.one("SELECT count(*)::int FROM deliveries") == 1
    assert harness.resources.intake.depth() == 0
    assert harness.sql("SELECT 1 FROM spooled_deliveries") == []


def test_a_foreign_entry_of_the_intake_ends_as_a_failed_task(harness: Harness) -> None:
    harness.resources.intake._redis.xadd("mailroom:intake", {"something": "else"})
    harness.record()
    assert harness.sql("SELECT code FROM tasks WHERE state = 'failed'") == [("malformed_envelope",)]
    assert harness.resources.intake.depth() == 0


def test_a_body_that_killed_five_recorders_is_kept_unparsed(harness: Harness) -> None:
    harness.tenant("cmp_acme")
    receive(harness)
    receive(harness, payload={"id": "evt_2"})
    deadly, innocent = (entry.entry_id for entry in harness.resources.intake.read())
    for _ in range(5):
        harness.resources.pool.run(lambda conn: statements.mark_in_flight(conn, [deadly]))
    harness.resources.pool.run(lambda conn: statements.mark_in_flight(conn, [innocent]))
    harness.record()
    assert harness.sql("SELECT front_id, state FROM events WHERE type = 'inbound_received'") == [
        ("evt_2", harness.one("SELECT state FROM events WHERE front_id = 'evt_2'"))
    ]
    assert "recorders died" in harness.one("SELECT detail FROM tasks WHERE state = 'failed'")
    assert harness.resources.pool.run(statements.tries_in_flight) == {}


def test_a_row_the_database_refuses_does_not_take_the_chunk_with_it(harness: Harness) -> None:
    harness.tenant("cmp_acme")
    for number in range(20):
        receive(harness, payload={"id": f"evt_{number}"})
    harness.sql("ALTER TABLE events ADD CHECK (front_id <> 'evt_7')")
    harness.record()
    assert harness.one("SELECT count(*)::int FROM events WHERE type = 'inbound_received'") == 19
    assert harness.sql("SELECT code FROM tasks WHERE state = 'failed'") == [("malformed_envelope",)]
    assert harness.resources.intake.depth() == 0


def test_nothing_is_consumed_while_postgresql_is_away(harness: Harness) -> None:
    receive(harness)
    harness.resources.pool.close()
    with pytest.raises(StoreUnavailable):
        harness.record()
    assert harness.resources.intake.depth() == 1


def test_a_user_named_twice_is_one_match_and_one_wish(harness: Harness) -> None:
    tenant = harness.tenant("cmp_acme")
    harness.user(tenant, NORA, "n.lind@acme.example", action="trash")
    harness.user(tenant, "tom@acme.example", action="archive")
    handles = [(NORA, "to"), ("N.Lind@acme.example", "cc"), ("tom@acme.example", "bcc")]
    now = harness.one("SELECT extract(epoch FROM now())::float8")
    receive(
        harness,
        payload={"emitted_at": now},
        message={"recipients": [{"handle": handle, "role": role} for handle, role in handles]},
    )
    harness.record()
    [(kind, state, reason)] = harness.sql("SELECT kind, state, reason FROM actions")
    assert (kind, state) == ("archive", "planned")
    assert "least destructive of 2 users' wishes" in reason
