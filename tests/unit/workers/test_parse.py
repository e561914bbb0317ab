"""Every delivery becomes an event; an unparsable body becomes a malformed event with the reason."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.models import Delivery
from workers.recording.parse import Incoming, Parsed, parse

RECEIVED = datetime(2026, 8, 11, 9, 0, tzinfo=UTC)


def read(body: bytes, *, unreadable: str | None = None, delivery_id: str = "0a" * 16) -> Parsed:
    delivery = Delivery(id=delivery_id, received_at=RECEIVED, body=body)
    return parse(Incoming(delivery=delivery, origin="webhook", entry_id="1-0", unreadable=unreadable))


def body(**payload: Any) -> bytes:
    return json.dumps({"type": "trash", "authorization": {"id": "cmp_1"}, "payload": payload}).encode()


def digest(raw: bytes) -> str:
    return f"body:{hashlib.sha256(raw).hexdigest()}"


def test_an_event_is_identified_by_company_and_fronts_id() -> None:
    assert read(body(id="evt_1")).key == ("cmp_1", "evt_1")


def test_two_deliveries_of_one_event_have_one_key() -> None:
    assert read(body(id="evt_1", n=1)).key == read(body(id="evt_1", n=2), delivery_id="0b" * 16).key


@pytest.mark.parametrize("payload", [{}, {"id": None}, {"id": ""}, {"id": 7}])
def test_an_event_without_an_id_is_identified_by_its_bytes(payload: dict[str, Any]) -> None:
    raw = body(**payload)
    assert read(raw).key == ("cmp_1", digest(raw))


@pytest.mark.parametrize(
    ("emitted_at", "taken"),
    [
        (1_786_440_070, datetime(2026, 8, 11, 9, 21, 10, tzinfo=UTC)),
        ("1786440070.0", datetime(2026, 8, 11, 9, 21, 10, tzinfo=UTC)),
        (None, None),
        (-1, None),
        (1e300, None),
        ("last Tuesday", None),
    ],
)
def test_an_event_without_a_usable_time_is_of_unknown_age(emitted_at: Any, taken: datetime) -> None:
    assert read(body(id="evt_1", emitted_at=emitted_at)).envelope.emitted_at == taken


def test_a_malformed_body_has_a_reason_and_no_company() -> None:
    parsed = read(b"[")
    assert (parsed.envelope.type, parsed.key, parsed.problem) == (
        "malformed",
        ("", digest(b"[")),
        "the body is no JSON (JSONDecodeError)",
    )


def test_an_unreadable_delivery_is_not_parsed_and_has_a_reason() -> None:
    parsed = read(body(id="evt_1"), unreadable="5 recorders died while recording it")
    assert (parsed.envelope.type, parsed.problem) == ("malformed", "5 recorders died while recording it")


def test_a_body_larger_than_memory_is_kept_unparsed(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(_: bytes) -> None:
        raise MemoryError

    monkeypatch.setattr("workers.recording.parse.parse_envelope", exhausted)
    assert read(body(id="evt_1")).problem == "the body takes more memory to read than there is"


@given(st.binary() | st.sampled_from([b"[" * 50_000, b"9" * 5_000, b"\xff", b"\0"]))
def test_no_delivery_raises(raw: bytes) -> None:
    assert read(raw).problem
