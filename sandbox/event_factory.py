"""Lets a requested event happen: the conversation, its message, its change, and the event itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sandbox.models import (
    EVENT_TYPES,
    Asked,
    Comment,
    CustomField,
    Link,
    MergedConversations,
    Message,
    PersonChanged,
    Source,
    WebhookEvent,
    stable_id,
)
from sandbox.sample_data import message_attachments, message_recipients, message_subject, message_text
from sandbox.world import Cause, add_message, ensure_conversation, make_event

if TYPE_CHECKING:
    from sandbox.models import Company, Conversation, Event, Key, Target
    from sandbox.send_request import SendRequest
    from sandbox.world import World

OUTBOUND_TYPES = frozenset({"outbound_sent", "out_reply"})
MESSAGE_TYPES = OUTBOUND_TYPES | {"inbound_received"}
MESSAGE_TARGETS = MESSAGE_TYPES | {"forward", "message_delivery_failed", "sending_error", "message_bounce_error"}


@dataclass(frozen=True, kw_only=True)
class EventFactory:
    """Makes one event in one company.

    `at` is the time of emission that the event states, `now` the real time. `elsewhere` is the address of a host
    that is not Front.
    """

    world: World
    company: Company
    request: SendRequest
    at: float
    now: float
    elsewhere: str

    def make(self, webhook_type: str) -> WebhookEvent:
        """Let the event happen, and record the effect that is expected of it."""
        with self.world.lock:
            key = self._conversation()
            message = self._message(webhook_type, key)
            wish = self._wish(webhook_type)
            already = _is_fulfilled(self.world.conversations[key], wish)
            event = self._event(webhook_type, key, message)
            asked = Asked(
                at=self.now,
                event_id=event.id,
                wish=wish,
                genuine=not self.request.is_forged,
                already=already,
            )
            self.world.histories[key].append(asked)
        return WebhookEvent(event=event, webhook_type=webhook_type, message=message)

    def _conversation(self) -> Key:
        requested = (self.company.id, self.request.conversation or self.world.ids.new("cnv"))
        inbox_id = self.request.inbox or self.company.inboxes[0].id
        return ensure_conversation(self.world, requested, inbox_id, message_subject(self.request, self.at), self.at)

    def _wish(self, webhook_type: str) -> str | None:
        """The expected effect.

        It is unknown only for messages. In a mixed request, only inbound messages take over its `expect`.
        """
        if self.request.is_forged:
            return "none"
        if self.request.expect and webhook_type in {self.request.type, "inbound_received"}:
            return self.request.expect
        return None if webhook_type in MESSAGE_TYPES else "none"

    def _message(self, webhook_type: str, key: Key) -> Message:
        """The message of the event. Other events get one only to begin an empty conversation."""
        earlier = self.world.message_ids[key]
        if earlier and webhook_type not in MESSAGE_TYPES:
            return self.world.messages[key[0], earlier[-1]]
        message = self._new_message(key, is_inbound=webhook_type not in OUTBOUND_TYPES)
        add_message(self.world, message)
        return message

    def _new_message(self, key: Key, *, is_inbound: bool) -> Message:
        earlier = self.world.message_ids[key]
        return Message(
            id=self.request.message or self.world.ids.new("msg"),
            company_id=self.company.id,
            conversation_id=key[1],
            is_inbound=is_inbound,
            created_at=self.at,
            subject=self.world.conversations[key].subject,
            text=message_text(self.request),
            recipients=message_recipients(self.request, self.company, is_inbound=is_inbound),
            attachments=message_attachments(self.request, self.world.ids, self.elsewhere),
            author=None if is_inbound else self.company.teammates[0],
            replied_to=earlier[-1] if earlier else None,
        )

    def _event(self, webhook_type: str, key: Key, message: Message) -> Event:
        """Make the event. A forged one changes nothing, and the API does not list it."""
        event_type = EVENT_TYPES[webhook_type]
        person = self.company.teammates[0] if event_type.source == "teammate" else None
        source = Source(type=event_type.source, teammate=person)
        if not self.request.is_forged:
            self._change_conversation(webhook_type, key, source)
        cause = Cause(source=source, at=self.at)
        target = self._target(webhook_type, key, message)
        event = make_event(self.world, key, event_type.name, cause, target)
        event = replace(event, id=self.request.event or event.id)
        if event_type.in_event_list and not self.request.is_forged:
            self.world.put_event(event)
        return event

    def _change_conversation(self, webhook_type: str, key: Key, source: Source) -> None:
        """Bring the conversation into the state that the event reports."""
        conversation = self.world.conversations[key]
        tag = self.company.tags[1]
        others = tuple(each for each in conversation.tags if each != tag)
        match webhook_type:
            case "conversation_moved":
                conversation = replace(conversation, inbox_id=self.company.inboxes[1].id)
            case "assignee_changed":
                conversation = replace(conversation, assignee=self.company.teammates[1])
            case "unassign":
                conversation = replace(conversation, assignee=None)
            case "tag_added":
                conversation = replace(conversation, tags=(*others, tag))
            case "tag_removed":
                conversation = replace(conversation, tags=others)
        event_type = EVENT_TYPES[webhook_type]
        if event_type.status:
            conversation = replace(conversation, status=event_type.status, updated_at=self.at)
            by = source.teammate.id if source.teammate else source.type
            self.world.histories[key].append(PersonChanged(at=self.at, do=event_type.name, by=by))
        self.world.put_conversation(conversation)

    def _target(self, webhook_type: str, key: Key, message: Message) -> Target | None:
        teammate, tag = self.company.teammates[1], self.company.tags[1]
        match webhook_type:
            case "new_comment_added" | "mention":
                body = "Who takes this one?"
                return Comment(id=self.world.ids.new("com"), author=teammate, body=body, posted_at=self.at)
            case "link_added" | "link_removed":
                return Link(id=self.world.ids.new("top"), name="TASK-12", external_url="https://tasks.example/12")
            case "conversations_merged":
                return self._merge(key)
            case "custom_field_updated":
                return CustomField(id=stable_id("fld", self.company.id), name="Order number")
        targets: dict[str, Target] = {
            **dict.fromkeys(MESSAGE_TARGETS, message),
            "conversation_moved": self.company.inboxes[1],
            "assignee_changed": teammate,
            "tag_added": tag,
            "tag_removed": tag,
        }
        return targets.get(webhook_type)

    def _merge(self, key: Key) -> MergedConversations:
        """Merge the requested conversations, or a new one, into this one. A forged event only names them."""
        ids = self.request.merges or (self.world.ids.new("cnv"),)
        for conversation_id in () if self.request.is_forged else ids:
            inbox_id, subject = self.company.inboxes[0].id, message_subject(self.request, self.at)
            gone = ensure_conversation(self.world, (self.company.id, conversation_id), inbox_id, subject, self.at)
            if gone != key:
                self.world.merge(gone, self.at, key[1])
        return MergedConversations(ids=ids)


def _is_fulfilled(conversation: Conversation, wish: str | None) -> bool:
    return wish == conversation.status or wish in {f"tag:{tag.id}" for tag in conversation.tags}
