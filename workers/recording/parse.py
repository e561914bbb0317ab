"""Reads deliveries for the recorder: pure. What cannot be read becomes an event of type `malformed`."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from shared.errors import MalformedEnvelope
from shared.front.envelope import parse_envelope
from shared.models import Delivery, Envelope, EventKey, Origin

MALFORMED = "malformed"
_UNREAD = Envelope(
    type=MALFORMED, company_id="", front_id=None, conversation_id=None, source=None, emitted_at=None, message=None
)


class Incoming(NamedTuple):
    """A delivery to record. `mark` names it across restarts; `unreadable`: keep it unparsed, for this reason."""

    delivery: Delivery
    origin: Origin
    mark: str
    unreadable: str | None = None


class Parsed(NamedTuple):
    """A delivery read; `key` is the same for every delivery of one event, `problem` says why it is malformed."""

    incoming: Incoming
    envelope: Envelope
    key: EventKey
    problem: str | None


def parse(incoming: Incoming) -> Parsed:
    """Read a delivery; never raises, whatever the body holds."""
    envelope, problem = _parse(incoming)
    if envelope.emitted_at is None:
        envelope = envelope._replace(emitted_at=incoming.delivery.received_at)
    front_id = envelope.front_id or f"body:{hashlib.sha256(incoming.delivery.body).hexdigest()}"
    return Parsed(incoming, envelope, (envelope.company_id, front_id), problem)


def _parse(incoming: Incoming) -> tuple[Envelope, str | None]:
    if incoming.unreadable:
        return _UNREAD, incoming.unreadable
    try:
        return parse_envelope(incoming.delivery.body), None
    except MalformedEnvelope as exc:
        return _UNREAD, str(exc)
    except MemoryError:
        return _UNREAD, "the body takes more memory to read than there is"
