"""A notification for the host application: its types, and the facts from which its body is built. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from shared.errors import MailroomError

if TYPE_CHECKING:
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


class FeedItems(NamedTuple):
    """Bodies of notifications, and the cursor after them."""

    messages: Sequence[Mapping[str, Any]]
    next: str


class FeedReset(MailroomError):
    """The cursor belongs to another life of the feed, as before a restore; `start` is where to go on."""

    code = "feed_reset"

    def __init__(self, message: str, *, start: Cursor):
        super().__init__(message)
        self.start = start


class CursorTooOld(FeedReset):
    """Notifications after the cursor are no longer kept; `start` is the oldest place that is."""

    code = "cursor_too_old"


@dataclass(frozen=True, kw_only=True)
class FeedState:
    """How far the feed goes: the first position that is kept, the last one, and the word of its cursors.

    `epoch_start` is the last position when this epoch began: up to it, positions of the epoch before stay good.
    """

    epoch: str
    epoch_start: int
    previous_epoch: str | None
    first_kept: int
    last_position: int

    @property
    def oldest(self) -> Cursor:
        """The place before the first notification that is kept."""
        return Cursor(self.epoch, self.first_kept - 1)

    @property
    def latest(self) -> Cursor:
        """The place after the last notification."""
        return Cursor(self.epoch, self.last_position)

    def position_after(self, cursor: Cursor) -> int:
        """Return the position after which a reader goes on. Raises FeedReset and CursorTooOld, never skips any."""
        if cursor.epoch != self.epoch:
            raise FeedReset("the feed was restored since, and has other positions", start=self._start_after(cursor))
        if cursor.position > self.last_position:
            raise FeedReset("the feed does not go as far as this cursor", start=self.oldest)
        if cursor.position < self.first_kept - 1:
            raise CursorTooOld("notifications after this cursor are no longer kept", start=self.oldest)
        return cursor.position

    def _start_after(self, cursor: Cursor) -> Cursor:
        """Return where a reader of another epoch goes on: where the two epochs part, unless it was not yet there."""
        if cursor.epoch != self.previous_epoch:
            return self.oldest
        return Cursor(self.epoch, max(self.first_kept - 1, min(cursor.position, self.epoch_start)))


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
    """A file of the message. `number` is our id of it, `id` Front's; `size` and `sha256` are of the stored bytes.

    A stored file that is not `is_kept` was deleted again.
    """

    number: int
    id: str
    filename: str
    content_type: str
    declared_size: int | None
    is_inline: bool
    state: str
    size: int | None
    sha256: str | None
    is_kept: bool = True


@dataclass(frozen=True, kw_only=True)
class ActionOutcome:
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
    action: ActionOutcome | None = None


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
        """The id that the host application sees: the same in the feed, in every retry and in every replay."""
        return f"msg_{self.id.hex}"
