"""Bodies of notifications as large as real ones, for senders that are not Mailroom."""

from __future__ import annotations

import itertools
import json
import secrets
from dataclasses import dataclass

_numbers = itertools.count(1)
#: A usual message of one recipient makes a body of about this many bytes.
TEXT_CHARACTERS = 600


@dataclass(frozen=True, kw_only=True)
class Notification:
    """A body, and the ids in it."""

    id: str
    event: str
    body: str


def notification() -> Notification:
    """Make another notification about a message of a conversation of its own."""
    number = next(_numbers)
    id_, event = f"msg_{secrets.token_hex(16)}", f"evt_{secrets.token_hex(8)}"
    content = {
        "type": "message.received",
        "id": id_,
        "position": f"naive.{number:012d}",
        "data": {
            "front": {"event_id": event, "conversation_id": f"cnv_naive{number}"},
            "message": {"text": secrets.token_hex(TEXT_CHARACTERS // 2)},
        },
    }
    return Notification(id=id_, event=event, body=json.dumps(content))
