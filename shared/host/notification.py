"""A notification for the host application: its types, and the facts from which its body is built. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

#: The parts of a message that a reader wants inside the body: its text, text and HTML, or neither.
Include = Literal["text", "html", "none"]

MESSAGE_TYPES: Final = ("message.received", "message.unmatched", "message.sent")
#: Written only where an endpoint names them: one for each file would double the feed.
FILE_TYPES: Final = ("attachment.stored", "attachment.failed")
ACTION_TYPES: Final = ("conversation.action_applied", "conversation.action_superseded")
TENANT_TYPES: Final = ("tenant.connected", "tenant.needs_reconnect", "tenant.paused")
TYPES: Final = (*MESSAGE_TYPES, *FILE_TYPES, *ACTION_TYPES, *TENANT_TYPES, "endpoint.held", "ping")

_CURSOR: Final = re.compile(r"([a-z0-9]{1,16})\.([0-9]{1,18})")


class Cursor(NamedTuple):
    """A place in the feed: the epoch of the feed, and the position of the last notification that was read."""

    epoch: str
    position: int

    def __str__(self) -> str:
        """Return the cursor as notifications have it; cursors of one epoch are sorted like their positions."""
        return f"{self.epoch}.{self.position:012d}"

    @classmethod
    def parse(cls, text: str) -> Cursor | None:
        """Return the cursor; None for text that is none."""
        found = _CURSOR.fullmatch(text)
        return cls(found[1], int(found[2])) if found else None


@dataclass(frozen=True, kw_only=True)
class TenantFacts:
    """The tenant of a notification. `customer` is the id that the host application gave it, if any."""

    id: int
    name: str
    customer: str | None
    company_id: str | None


@dataclass(frozen=True, kw_only=True)
class RecipientFacts:
    """A recipient of the message: the user it belongs to, by external id and name, and the reason in words."""

    handle: str
    role: str
    reason: str
    user_id: str | None
    user_name: str | None


@dataclass(frozen=True, kw_only=True)
class FileFacts:
    """A file of the message. `number` is our id of it, `id` Front's; `size` and `sha256` are of the stored bytes."""

    number: int
    id: str
    filename: str
    content_type: str
    declared_size: int | None
    is_inline: bool
    state: str
    size: int | None
    sha256: str | None


@dataclass(frozen=True, kw_only=True)
class ActionFacts:
    """The change of the conversation, planned or done, and the reason for its state.

    `waits_for_you`: it is not made before an endpoint has taken the notification.
    """

    kind: str
    state: str
    reason: str
    waits_for_you: bool = False


@dataclass(frozen=True, kw_only=True)
class EventFacts:
    """The event of a notification. `number` is our id of it.

    `body` is the webhook as Front sent it, `fetched` its message as Front's API returned it; None where none is stored.
    """

    number: int
    front_id: str
    type: str
    conversation_id: str | None
    message_id: str | None
    emitted_at: datetime | None
    received_at: datetime
    body: bytes | None
    fetched: bytes | None = None
    recipients: Sequence[RecipientFacts] = ()
    files: Sequence[FileFacts] = ()
    action: ActionFacts | None = None


@dataclass(frozen=True, kw_only=True)
class NotificationFacts:
    """A numbered notification with all that its body needs. `facts` are those that no other row has."""

    id: UUID
    cursor: Cursor
    type: str
    at: datetime
    tenant: TenantFacts | None
    event: EventFacts | None
    attachment_id: int | None
    facts: Mapping[str, Any]

    @property
    def public_id(self) -> str:
        """Return the id that its body and the header `webhook-id` have, the same in the feed and in every attempt."""
        return f"msg_{self.id.hex}"
