"""Parses deliveries for the recorder: pure. An unreadable delivery becomes an event of type `malformed`."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from shared.errors import MalformedEnvelope
from shared.front.envelope import SYNC, parse_envelope
from shared.models import Delivery, Envelope, EventKey, Origin

MALFORMED = "malformed"
_MALFORMED_ENVELOPE = Envelope(
    type=MALFORMED, company_id="", front_id=None, conversation_id=None, source=None, emitted_at=None, message=None
)


class Incoming(NamedTuple):
    """A delivery to record.

    `entry_id` names it among the in-flight entries, also for the next recorder. With a reason in `unreadable`, the
    delivery is kept unparsed.
    """

    delivery: Delivery
    origin: Origin
    entry_id: str
    unreadable: str | None = None


class Parsed(NamedTuple):
    """A parsed delivery. All deliveries of one event have the same `key`; `problem` says why a body is malformed."""

    incoming: Incoming
    envelope: Envelope
    key: EventKey
    problem: str | None

    @property
    def is_event(self) -> bool:
        """Whether there is something to record. A `sync` only tests the door, and names no event."""
        return self.envelope.type != SYNC or self.envelope.front_id is not None


def parse(incoming: Incoming) -> Parsed:
    """Parse a delivery. Never raises, whatever its body holds."""
    envelope, problem = _parse(incoming)
    front_id = envelope.front_id or f"body:{hashlib.sha256(incoming.delivery.body).hexdigest()}"
    return Parsed(incoming, envelope, (envelope.company_id, front_id), problem)


def _parse(incoming: Incoming) -> tuple[Envelope, str | None]:
    if incoming.unreadable:
        return _MALFORMED_ENVELOPE, incoming.unreadable
    try:
        return parse_envelope(incoming.delivery.body), None
    except MalformedEnvelope as exc:
        return _MALFORMED_ENVELOPE, str(exc)
    except MemoryError:
        return _MALFORMED_ENVELOPE, "the body takes more memory to read than there is"
