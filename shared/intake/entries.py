"""How a delivery is spelled as an entry of the intake, and read back whatever is found there. Pure."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from shared.models import Delivery

if TYPE_CHECKING:
    from collections.abc import Mapping

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
YEAR_9999 = 253_370_764_800_000  # XADD may name any 64-bit time; a datetime may not

DELIVERY_ID = re.compile(rb"[0-9a-f]{32}")
MILLISECONDS = re.compile(rb"[0-9]{1,14}")
ENTRY_ID = re.compile(rb"[0-9]+-[0-9]+")


class Entry(NamedTuple):
    """One delivery in the intake.

    What the door did not write is not `readable`: its delivery stands for it, so that it ends as a failed task
    instead of stopping the reader.
    """

    entry_id: str
    delivery: Delivery
    readable: bool = True


def fields_of(delivery: Delivery) -> dict[bytes, bytes]:
    """The fields of its entry."""
    at = b"%d" % ((delivery.received_at - EPOCH) // MILLISECOND)
    return {b"id": delivery.id.encode(), b"at": at, b"body": delivery.body}


def read_entry(name: bytes, fields: Mapping[bytes, bytes] | None) -> Entry:
    """The entry of that name. Never raises for what stands in it."""
    fields = fields or {}
    id_, at, body = fields.get(b"id", b""), fields.get(b"at", b""), fields.get(b"body")
    if body is None or not DELIVERY_ID.fullmatch(id_) or not MILLISECONDS.fullmatch(at):
        return _unreadable(name, body or b"")
    return Entry(name.decode(), _delivery(id_.decode(), int(at), body))


def is_entry_id(answer: object) -> bool:
    """Whether Redis says by this answer that an entry was added; whatever else came is no promise."""
    return isinstance(answer, bytes) and ENTRY_ID.fullmatch(answer) is not None


def added_at(name: bytes) -> int:
    """When an entry of that name was added, in milliseconds."""
    return int(name.split(b"-")[0])


def _unreadable(name: bytes, body: bytes) -> Entry:
    """Always the same delivery id for the same entry: recorded twice, it is still one."""
    id_ = hashlib.sha256(name).hexdigest()[:32]
    return Entry(entry_id=name.decode(), delivery=_delivery(id_, added_at(name), body), readable=False)


def _delivery(id_: str, at: int, body: bytes) -> Delivery:
    return Delivery(id_, EPOCH + min(at, YEAR_9999) * MILLISECOND, body)
