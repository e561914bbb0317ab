"""The calls of Front's API that Mailroom makes: a row each, with the permission it needs and what its 404 means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from shared.errors import AttachmentMissing, ConversationGone, FrontRejected, MailroomError


@dataclass(frozen=True, kw_only=True)
class Route:
    """One call. Its `str()` names it in messages, without any id."""

    method: str
    path: str
    scope: str
    missing: type[MailroomError] = FrontRejected
    may_move: bool = False

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def is_write(self) -> bool:
        """Whether the call changes something at Front."""
        return self.method != "GET"


def _conversation(method: str, part: str, scope: str) -> Route:
    """A merged conversation answers 301 on every sub-path, one that is gone or hidden 404."""
    return Route(
        method=method, path=f"/conversations/{{id}}{part}", scope=scope, missing=ConversationGone, may_move=True
    )


ME: Final = Route(method="GET", path="/me", scope="access to its own company")
EVENTS: Final = Route(method="GET", path="/events", scope="events:*:read")
INBOXES: Final = Route(method="GET", path="/inboxes", scope="inboxes:read")
CHANNELS: Final = Route(method="GET", path="/channels", scope="channels:read")
TEAMMATES: Final = Route(method="GET", path="/teammates", scope="teammates:read")
MESSAGE: Final = Route(method="GET", path="/messages/{id}", scope="messages:read")
DOWNLOAD: Final = Route(method="GET", path="/download/{id}", scope="attachments:read", missing=AttachmentMissing)
CONVERSATION: Final = _conversation("GET", "", "conversations:read")
CONVERSATION_EVENTS: Final = _conversation("GET", "/events", "events:*:read")
CONVERSATION_MESSAGES: Final = _conversation("GET", "/messages", "messages:read")
SET_STATUS: Final = _conversation("PATCH", "", "conversations:write")
ADD_TAG: Final = _conversation("POST", "/tags", "conversations:write")
REMOVE_TAG: Final = _conversation("DELETE", "/tags", "conversations:write")
