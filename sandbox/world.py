"""The store of all companies and their resources, and the changes of a conversation.

As in Front, every change of a conversation stores a new record and lists an event.
"""

from __future__ import annotations

import bisect
import threading
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sandbox.models import Arrived, Conversation, Event, Merged, Message

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sandbox.models import (
        Attachment,
        Company,
        HistoryEntry,
        IdSequence,
        Inbox,
        Key,
        Source,
        Status,
        Tag,
        Target,
        Teammate,
    )

EventPosition = tuple[float, int, str]
"""Place of an event in its company's list: time, order of arrival, id."""

EVENT_OF_STATUS = {"archived": "archive", "deleted": "trash", "spam": "trash"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Cause:
    """The source of a change, and its time."""

    source: Source
    at: float


class World:
    """A store of companies and their resources. Hold `lock` for a step that must be atomic."""

    def __init__(self, ids: IdSequence) -> None:
        self.ids = ids
        self.lock = threading.RLock()
        self.clear()

    def clear(self) -> None:
        """Forget everything except the ids already used."""
        self.companies: dict[str, Company] = {}
        self.conversations: dict[Key, Conversation] = {}
        self.messages: dict[Key, Message] = {}
        self.attachments: dict[Key, Attachment] = {}
        self.events: dict[Key, Event] = {}
        self.event_positions: defaultdict[str, list[EventPosition]] = defaultdict(list)
        self.event_ids: defaultdict[Key, list[str]] = defaultdict(list)
        self.message_ids: defaultdict[Key, list[str]] = defaultdict(list)
        self.histories: defaultdict[Key, list[HistoryEntry]] = defaultdict(list)
        self.merged: dict[Key, str] = {}
        self._owners: defaultdict[str, set[str]] = defaultdict(set)
        self._arrivals = 0

    def put_conversation(self, conversation: Conversation) -> Conversation:
        """Store the present state of a conversation."""
        self.conversations[conversation.company_id, conversation.id] = conversation
        self._owners[conversation.id].add(conversation.company_id)
        return conversation

    def put_message(self, message: Message) -> None:
        """Store a message and its attachments, newest last."""
        self.messages[message.company_id, message.id] = message
        self.message_ids[message.company_id, message.conversation_id].append(message.id)
        self._owners[message.id].add(message.company_id)
        for attachment in message.attachments:
            self.attachments[message.company_id, attachment.id] = attachment
            self._owners[attachment.id].add(message.company_id)

    def put_event(self, event: Event) -> None:
        """List an event under its company and its conversation."""
        company_id = event.conversation.company_id
        self._arrivals += 1
        self.events[company_id, event.id] = event
        bisect.insort(self.event_positions[company_id], (event.emitted_at, self._arrivals, event.id))
        self.event_ids[company_id, event.conversation.id].append(event.id)
        self._owners[event.id].add(company_id)

    def surviving(self, key: Key) -> Key:
        """Return the present key of a conversation, after any merges."""
        while key in self.merged:
            key = (key[0], self.merged[key])
        return key

    def belongs_elsewhere(self, company_id: str, resource_id: str) -> bool:
        """Tell whether only other companies have this id."""
        owners = self._owners.get(resource_id, set())
        return bool(owners) and company_id not in owners

    def merge(self, key: Key, at: float, into: str | None = None) -> str:
        """Merge a conversation into another one, or into a new one without `into`, and return the surviving id.

        Messages, events and history move with it. A second merge of the same conversation changes nothing.
        """
        with self.lock:
            if key in self.merged:
                return self.merged[key]
            company_id, old_id = key
            new_id = into or self.ids.new("cnv")
            self.merged[key] = new_id
            gone = self.conversations.pop(key)
            if into is None:
                self.put_conversation(replace(gone, id=new_id))
            self._move_contents(key, (company_id, new_id))
            self.histories[company_id, new_id].append(Merged(at=at, from_id=old_id))
            return new_id

    def _move_contents(self, old: Key, new: Key) -> None:
        company_id, new_id = new
        both = [*self.histories.get(new, []), *self.histories.pop(old, [])]
        self.histories[new] = sorted(both, key=lambda entry: entry.at)
        self.message_ids[new] = [*self.message_ids.get(new, []), *self.message_ids.pop(old, [])]
        self.event_ids[new] = [*self.event_ids.get(new, []), *self.event_ids.pop(old, [])]
        for message_id in self.message_ids[new]:
            message = self.messages[company_id, message_id]
            self.messages[company_id, message_id] = replace(message, conversation_id=new_id)
        for event_id in self.event_ids[new]:
            event = self.events[company_id, event_id]
            target = event.target
            if isinstance(target, Message):
                target = self.messages[company_id, target.id]
            conversation = replace(event.conversation, id=new_id)
            self.events[company_id, event_id] = replace(event, conversation=conversation, target=target)


def ensure_conversation(world: World, requested: Key, inbox_id: str, subject: str, at: float) -> Key:
    """Return the present key of a conversation. A missing one is created in this inbox."""
    key = world.surviving(requested)
    if key not in world.conversations:
        world.put_conversation(
            Conversation(
                id=key[1],
                company_id=key[0],
                inbox_id=inbox_id,
                subject=subject,
                created_at=at,
                updated_at=at,
            )
        )
    return key


def add_message(world: World, message: Message) -> Conversation:
    """Add a message to its conversation. An inbound one reopens an archived or trashed conversation."""
    key = (message.company_id, message.conversation_id)
    world.put_message(message)
    recipients = [each for each in message.recipients if (each.role == "from") == message.is_inbound]
    conversation = replace(
        world.conversations[key],
        last_message_id=message.id,
        updated_at=message.created_at,
        recipient=recipients[0] if recipients else None,
        waiting_since=message.created_at if message.is_inbound else None,
    )
    if message.is_inbound:
        conversation = replace(conversation, status="open")
        world.histories[key].append(Arrived(at=message.created_at, message_id=message.id))
    return world.put_conversation(conversation)


def make_event(world: World, key: Key, event_type: str, cause: Cause, target: Target | None = None) -> Event:
    """Make an event about the present state of a conversation, without listing it."""
    return Event(
        id=world.ids.new("evt"),
        type=event_type,
        emitted_at=cause.at,
        conversation=world.conversations[key],
        source=cause.source,
        target=target,
    )


def emit_event(world: World, key: Key, event_type: str, cause: Cause, target: Target | None = None) -> Event:
    """Make an event and list it where the API shows it."""
    event = make_event(world, key, event_type, cause, target)
    world.put_event(event)
    return event


def set_status(world: World, key: Key, status: Status, cause: Cause) -> Event | None:
    """Archive, trash or open a conversation. None if it has this status already."""
    before = world.conversations[key]
    if before.status == status:
        return None
    world.put_conversation(replace(before, status=status, updated_at=cause.at))
    opened = "restore" if before.status in {"deleted", "spam"} else "reopen"
    return emit_event(world, key, EVENT_OF_STATUS.get(status, opened), cause)


def set_tags(world: World, key: Key, tags: Iterable[Tag], cause: Cause) -> list[Event]:
    """Give a conversation exactly these tags, with one event for each tag added or removed."""
    before = world.conversations[key]
    after = tuple(tags)
    world.put_conversation(replace(before, tags=after, updated_at=cause.at))
    added = [emit_event(world, key, "tag", cause, tag) for tag in after if tag not in before.tags]
    removed = [emit_event(world, key, "untag", cause, tag) for tag in before.tags if tag not in after]
    return added + removed


def set_assignee(world: World, key: Key, teammate: Teammate | None, cause: Cause) -> Event | None:
    """Assign or unassign a conversation. None if nothing changed."""
    before = world.conversations[key]
    if before.assignee == teammate:
        return None
    world.put_conversation(replace(before, assignee=teammate, updated_at=cause.at))
    return emit_event(world, key, "assign" if teammate else "unassign", cause, teammate)


def set_inbox(world: World, key: Key, inbox: Inbox, cause: Cause) -> Event | None:
    """Move a conversation to another inbox. None if nothing changed."""
    before = world.conversations[key]
    if before.inbox_id == inbox.id:
        return None
    world.put_conversation(replace(before, inbox_id=inbox.id, updated_at=cause.at))
    return emit_event(world, key, "move", cause, inbox)
