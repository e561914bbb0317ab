"""All that exists in the sandbox's Front, by company: a store with look-ups and no rules."""

from __future__ import annotations

import bisect
import threading
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from sandbox.models import Merged, Message

if TYPE_CHECKING:
    from sandbox.models import Attachment, Company, Conversation, Event, HistoryEntry, IdSequence, Key

Mark = tuple[float, int, str]
"""Place of an event in its company's list: time, order of arrival, id."""


class World:
    """Companies and what is in them. Hold `lock` for a step that must not be torn."""

    def __init__(self, ids: IdSequence) -> None:
        self.ids = ids
        self.lock = threading.RLock()
        self.clear()

    def clear(self) -> None:
        """Forget everything but the ids already given out."""
        self.companies: dict[str, Company] = {}
        self.conversations: dict[Key, Conversation] = {}
        self.messages: dict[Key, Message] = {}
        self.attachments: dict[Key, Attachment] = {}
        self.events: dict[Key, Event] = {}
        self.marks: defaultdict[str, list[Mark]] = defaultdict(list)
        self.event_ids: defaultdict[Key, list[str]] = defaultdict(list)
        self.message_ids: defaultdict[Key, list[str]] = defaultdict(list)
        self.histories: defaultdict[Key, list[HistoryEntry]] = defaultdict(list)
        self.merged: dict[Key, str] = {}
        self._owners: defaultdict[str, set[str]] = defaultdict(set)
        self._arrivals = 0

    def put_conversation(self, conversation: Conversation) -> Conversation:
        """Store a conversation as it is now."""
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
        bisect.insort(self.marks[company_id], (event.emitted_at, self._arrivals, event.id))
        self.event_ids[company_id, event.conversation.id].append(event.id)
        self._owners[event.id].add(company_id)

    def surviving(self, key: Key) -> Key:
        """The key under which a conversation lives now, after any merges."""
        while key in self.merged:
            key = (key[0], self.merged[key])
        return key

    def belongs_elsewhere(self, company_id: str, resource_id: str) -> bool:
        """Whether other companies have this id and this one has not."""
        owners = self._owners.get(resource_id, set())
        return bool(owners) and company_id not in owners

    def merge(self, key: Key, at: float, into: str | None = None) -> str:
        """Let a conversation go on under another id, a new one without `into`, with messages, events and history."""
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
            thread = replace(event.conversation, id=new_id)
            self.events[company_id, event_id] = replace(event, conversation=thread, target=target)
