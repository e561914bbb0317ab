"""Whatever arrives becomes rows: once, whole, and nothing stops the recorder."""

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
from tests.integration.pipeline.rig import Rig
from workers.recording import prepare

PAYLOADS = Path(__file__).parents[2] / "payloads"
NORA = "nora@acme.example"


def envelope(**changes: Any) -> dict[str, Any]:
    """A small inbound message for Nora; each part can be replaced."""
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


def receive(rig: Rig, **changes: Any) -> str:
    return rig.receive(json.dumps(envelope(**changes)).encode())


def test_the_raw_body_is_kept_once_byte_for_byte(rig: Rig) -> None:
    rig.tenant("cmp_acme")
    body = json.dumps(envelope(), ensure_ascii=False).encode() + b"  "
    for _ in range(3):
        rig.receive(body)
    rig.record()
    rows = rig.sql("SELECT body FROM deliveries ORDER BY body IS NULL")
    assert [zlib.decompress(body) if body else None for (body,) in rows] == [body, None, None]


def test_many_deliveries_of_one_event_are_one_event(rig: Rig) -> None:
    rig.tenant("cmp_acme")
    for _ in range(5):
        receive(rig)
    rig.record()
    receive(rig)
    rig.record()
    assert rig.one("SELECT count(*)::int FROM events") == 1
    assert rig.one("SELECT count(*)::int FROM deliveries") == 6
    assert rig.one("SELECT count(*)::int FROM tasks") == 0 + len(
        rig.sql("SELECT 1 FROM actions WHERE state = 'planned'")
    )


def test_recording_an_entry_twice_changes_nothing(rig: Rig) -> None:
    rig.tenant("cmp_acme")
    receive(rig)
    entries = rig.resources.intake.read()
    rig.record()
    rig.resources.intake.put([entry.delivery for entry in entries])  # as after a crash between commit and delete
    rig.record()
    assert rig.one("SELECT count(*)::int FROM deliveries") == 1


def test_two_companies_may_share_every_id(rig: Rig) -> None:
    first, second = rig.tenant("cmp_acme"), rig.tenant("cmp_other", "Other")
    for tenant in (first, second):
        rig.user(tenant, NORA)
    receive(rig)
    receive(rig, authorization={"id": "cmp_other"})
    rig.record()
    assert rig.sql("SELECT tenant_id, count(*)::int FROM events GROUP BY 1 ORDER BY 1") == [(first, 1), (second, 1)]
    assert rig.sql(
        "SELECT r.tenant_id = u.tenant_id FROM recipients r JOIN users u ON u.id = r.user_id WHERE r.role = 'to'"
    ) == [(True,), (True,)]


def test_pieces_of_a_chunk_are_recorded_as_one(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "GROUP_SIZE", 2)
    rig.tenant("cmp_acme")
    for number in (3, 1, 2, 5, 1, 4, 3):
        receive(rig, payload={"id": f"evt_{number}"})
    rig.record()
    rows = rig.sql(
        "SELECT e.front_id, count(*)::int, count(d.body)::int FROM events e JOIN deliveries d ON d.event_id = e.id"
        " GROUP BY 1 ORDER BY 1"
    )
    assert rows == [("evt_1", 2, 1), ("evt_2", 1, 1), ("evt_3", 2, 1), ("evt_4", 1, 1), ("evt_5", 1, 1)]
    assert rig.one("SELECT count(*)::int FROM recipients") == 5


def test_an_event_that_another_recorder_wrote_meanwhile_is_not_written_again(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.tenant("cmp_acme")
    receive(rig)
    written = "INSERT INTO events (company_id, front_id, type, received_at, state)"
    others = iter([f"{written} VALUES ('cmp_acme', 'evt_1', 'inbound_received', now(), 'done')"])
    real = statements.known_events

    def overtaken(conn: Connection, keys: Iterable[EventKey]) -> dict[EventKey, int]:
        known = real(conn, keys)
        for statement in others:
            rig.sql(statement)
        return known

    monkeypatch.setattr(statements, "known_events", overtaken)
    rig.record()
    assert rig.sql("SELECT state FROM events") == [("done",)]
    assert rig.one("SELECT count(*)::int FROM deliveries JOIN events ON events.id = event_id") == 1
    assert rig.one("SELECT count(*)::int FROM recipients") == 0


@pytest.mark.parametrize(
    ("changes", "state", "cause"),
    [
        ({"type": "something_new"}, "ignored", "unknown_type"),
        ({"authorization": {"id": "cmp_nobody"}}, "parked", "unknown_company"),
        ({"type": "tag_added"}, "done", None),
    ],
)
def test_what_asks_for_nothing_is_recorded_with_its_cause(
    rig: Rig, changes: dict[str, Any], state: str, cause: str | None
) -> None:
    rig.tenant("cmp_acme")
    body = envelope(**{name: value for name, value in changes.items() if name != "payload"})
    if "payload" in changes:
        body["payload"] = changes["payload"]
    rig.receive(json.dumps(body).encode())
    rig.record()
    assert rig.sql("SELECT state, cause FROM events") == [(state, cause)]
    assert rig.sql("SELECT 1 FROM tasks") == []


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
def test_a_body_that_cannot_be_read_is_a_visible_failure_and_stops_nobody(rig: Rig, body: bytes) -> None:
    rig.tenant("cmp_acme")
    rig.receive(body)
    receive(rig)
    assert rig.record() == 2
    assert rig.sql("SELECT state, count(*)::int FROM events WHERE type = 'malformed' GROUP BY 1") == [("failed", 1)]
    assert rig.sql("SELECT kind, code FROM tasks WHERE state = 'failed'") == [("record", "malformed_envelope")]
    assert rig.one("SELECT count(*)::int FROM events WHERE type = 'inbound_received'") == 1
    kept = rig.one("SELECT d.body FROM deliveries d JOIN events e ON e.id = d.event_id WHERE e.type = 'malformed'")
    assert zlib.decompress(kept) == body


def test_hostile_text_is_stored_and_shown_as_what_it_is(rig: Rig) -> None:
    tenant = rig.tenant("cmp_acme")
    rig.user(tenant, NORA)
    handles = [
        "\x00nul@acme.example",
        "\ud800@acme.example",
        "no address",
        "a@b\r\nBcc: x@y",
        "x" * 5_000 + "@y.example",
    ]
    names = ["../../etc/passwd", "n" * 300, "\u202egnp.exe", "a\x00b", "\ud83d"]
    receive(
        rig,
        message={
            "recipients": [{"handle": handle, "role": "cc"} for handle in handles] + [{"handle": NORA, "role": "to"}],
            "attachments": [
                {"id": f"fil_{n}", "filename": name, "url": "https://evil.example/x"} for n, name in enumerate(names)
            ],
        },
    )
    rig.record()
    assert rig.one("SELECT count(*)::int FROM recipients") == 6
    assert rig.one("SELECT count(*)::int FROM recipients WHERE user_id IS NOT NULL") == 1
    assert rig.one("SELECT count(*)::int FROM attachments") == 5


def test_an_event_without_an_id_is_told_apart_by_its_body(rig: Rig) -> None:
    rig.tenant("cmp_acme")
    for emitted_at in (1786440070, 1786440070, 1786440071):
        receive(rig, payload={"id": None, "emitted_at": emitted_at})
    rig.record()
    assert rig.one("SELECT count(*)::int FROM events") == 2


def test_what_was_spooled_is_recorded_and_gone_from_the_spool(rig: Rig) -> None:
    rig.tenant("cmp_acme")
    receive(rig)
    [entry] = rig.resources.intake.read()
    rig.resources.intake.delete([entry.entry_id])
    rig.resources.pool.run(lambda conn: spool.add(conn, [entry.delivery]))
    assert rig.record() == 1
    assert rig.sql("SELECT origin FROM deliveries") == [("spooled",)]
    assert rig.sql("SELECT 1 FROM spooled_deliveries") == []


def test_all_that_is_spooled_is_recorded_at_once_while_redis_is_away(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.tenant("cmp_acme")
    monkeypatch.setattr(rig.resources.recorder._reader, "_size", 200)
    bodies = [json.dumps(envelope(payload={"id": f"evt_{number}"})).encode() for number in range(450)]
    spooled = [Delivery(id=f"{number:032x}", received_at=NOON, body=body) for number, body in enumerate(bodies)]
    rig.resources.pool.run(lambda conn: spool.add(conn, spooled))
    monkeypatch.setattr(rig.resources.intake, "read", away)
    with pytest.raises(StoreUnavailable):
        rig.record()
    assert rig.one("SELECT count(*)::int FROM events") == 450
    assert rig.sql("SELECT 1 FROM spooled_deliveries") == []


def test_large_bodies_that_are_spooled_are_recorded_at_once_while_redis_is_away(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They fill a chunk by their bytes."""
    rig.tenant("cmp_acme")
    bodies = [json.dumps(envelope(payload={"id": f"evt_{number}", "pad": "x" * 2**20})).encode() for number in range(7)]
    spooled = [Delivery(id=f"{number:032x}", received_at=NOON, body=body) for number, body in enumerate(bodies)]
    rig.resources.pool.run(lambda conn: spool.add(conn, spooled))
    monkeypatch.setattr(rig.resources.intake, "read", away)
    with pytest.raises(StoreUnavailable):
        rig.record()
    assert rig.one("SELECT count(*)::int FROM events") == 7


NOON = datetime(2026, 8, 11, 12, tzinfo=UTC)


def away(*_: Any, **__: Any) -> None:
    raise StoreUnavailable("away")


def test_a_delivery_both_in_intake_and_spool_is_recorded_once(rig: Rig) -> None:
    rig.tenant("cmp_acme")
    receive(rig)
    [entry] = rig.resources.intake.read()
    rig.resources.pool.run(lambda conn: spool.add(conn, [entry.delivery]))
    rig.record()
    assert rig.one("SELECT count(*)::int FROM deliveries") == 1
    assert rig.resources.intake.depth() == 0
    assert rig.sql("SELECT 1 FROM spooled_deliveries") == []


def test_a_foreign_entry_of_the_intake_ends_as_a_failed_task(rig: Rig) -> None:
    rig.resources.intake._redis.xadd("mailroom:intake", {"something": "else"})
    rig.record()
    assert rig.sql("SELECT code FROM tasks WHERE state = 'failed'") == [("malformed_envelope",)]
    assert rig.resources.intake.depth() == 0


def test_what_killed_five_recorders_is_kept_unparsed(rig: Rig) -> None:
    rig.tenant("cmp_acme")
    receive(rig)
    receive(rig, payload={"id": "evt_2"})
    deadly, innocent = (entry.entry_id for entry in rig.resources.intake.read())
    for _ in range(5):
        rig.resources.pool.run(lambda conn: statements.mark_in_flight(conn, [deadly]))
    rig.resources.pool.run(lambda conn: statements.mark_in_flight(conn, [innocent]))
    rig.record()
    assert rig.sql("SELECT front_id, state FROM events WHERE type = 'inbound_received'") == [
        ("evt_2", rig.one("SELECT state FROM events WHERE front_id = 'evt_2'"))
    ]
    assert "recorders died" in rig.one("SELECT detail FROM tasks WHERE state = 'failed'")
    assert rig.resources.pool.run(statements.tries_in_flight) == {}


def test_a_row_the_database_refuses_does_not_take_the_chunk_with_it(rig: Rig) -> None:
    rig.tenant("cmp_acme")
    for number in range(20):
        receive(rig, payload={"id": f"evt_{number}"})
    rig.sql("ALTER TABLE events ADD CHECK (front_id <> 'evt_7')")
    rig.record()
    assert rig.one("SELECT count(*)::int FROM events WHERE type = 'inbound_received'") == 19
    assert rig.sql("SELECT code FROM tasks WHERE state = 'failed'") == [("malformed_envelope",)]
    assert rig.resources.intake.depth() == 0


def test_nothing_is_consumed_while_postgresql_is_away(rig: Rig) -> None:
    receive(rig)
    rig.resources.pool.close()
    with pytest.raises(StoreUnavailable):
        rig.record()
    assert rig.resources.intake.depth() == 1


def test_a_user_named_twice_is_one_match_and_one_wish(rig: Rig) -> None:
    tenant = rig.tenant("cmp_acme")
    rig.user(tenant, NORA, "n.lind@acme.example", action="trash")
    rig.user(tenant, "tom@acme.example", action="archive")
    handles = [(NORA, "to"), ("N.Lind@acme.example", "cc"), ("tom@acme.example", "bcc")]
    now = rig.one("SELECT extract(epoch FROM now())::float8")
    receive(
        rig,
        payload={"emitted_at": now},
        message={"recipients": [{"handle": handle, "role": role} for handle, role in handles]},
    )
    rig.record()
    [(kind, state, reason)] = rig.sql("SELECT kind, state, reason FROM actions")
    assert (kind, state) == ("archive", "planned")
    assert "least destructive of 2 users' wishes" in reason
