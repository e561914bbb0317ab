"""The application webhooks there are, and the API event behind each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sandbox.models import SourceType, Status


@dataclass(frozen=True, slots=True)
class Kind:
    """`type` is the API's name; `status` the one the conversation has after it."""

    type: str
    source: SourceType
    status: Status | None = None
    listed: bool = True


KINDS = {
    "inbound_received": Kind("inbound", "inboxes"),
    "outbound_sent": Kind("outbound", "inboxes"),
    "conversation_archived": Kind("archive", "teammate", "archived"),
    "conversation_reopened": Kind("reopen", "teammate", "open"),
    "conversation_deleted": Kind("trash", "teammate", "deleted"),
    "conversation_restored": Kind("restore", "teammate", "open"),
    # The API has no event of its own for a snooze: only the webhook tells.
    "conversation_snoozed": Kind("reminder", "teammate", "archived", listed=False),
    "conversation_snooze_expired": Kind("reminder", "reminder", "open"),
    "conversation_moved": Kind("move", "teammate"),
    "new_comment_added": Kind("comment", "teammate"),
    "assignee_changed": Kind("assign", "teammate"),
    "tag_added": Kind("tag", "teammate"),
    "tag_removed": Kind("untag", "teammate"),
    "link_added": Kind("link_added", "teammate"),
    "link_removed": Kind("link_removed", "teammate"),
    "message_delivery_failed": Kind("sending_error", "recipient"),
}

APPLICATION_TYPES = {kind.type: name for name, kind in KINDS.items() if kind.listed} | {"unassign": "assignee_changed"}
"""Which webhook an API event travels in."""
