"""How an ordered event comes about: the conversation, the message, the change, the event."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sandbox import mails
from sandbox.models import EVENT_TYPES, Asked, Comment, Link, Message, PersonChanged, Source, WebhookEvent
from sandbox.world import Cause, add_message, ensure_conversation, make_event

if TYPE_CHECKING:
    from sandbox.models import Company, Conversation, Event, Key, Target
    from sandbox.send_request import Order
    from sandbox.world import World


MESSAGES = frozenset({"inbound_received", "outbound_sent"})


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Where an order is carried out: one company at one moment.

    `at` is when the event claims to have been emitted, `now` when it really was.
    """

    world: World
    company: Company
    order: Order
    at: float
    now: float
    elsewhere: str

    def play(self, webhook_type: str) -> WebhookEvent:
        """Let the ordered thing happen, and note what is expected to follow."""
        order = self.order
        with self.world.lock:
            subject = mails.subject(order, self.at)
            wanted = (self.company.id, order.conversation or self.world.ids.new("cnv"))
            key = ensure_conversation(
                self.world, wanted, self.order.inbox or self.company.inboxes[0].id, subject, self.at
            )
            message = self._message(webhook_type, key)
            wish = self._wish(webhook_type)
            already = _holds(self.world.conversations[key], wish)
            event = self._happen(webhook_type, key, message)
            asked = Asked(
                at=self.now,
                event_id=event.id,
                wish=wish,
                genuine=not order.is_forged,
                already=already,
            )
            self.world.histories[key].append(asked)
        return WebhookEvent(event=event, webhook_type=webhook_type, message=message)

    def _wish(self, webhook_type: str) -> str | None:
        """What should follow: only messages leave it open, and only mail coming in inherits a mixed order's."""
        if self.order.is_forged:
            return "none"
        named = webhook_type in {self.order.type, "inbound_received"}
        if self.order.expect and named:
            return self.order.expect
        return None if webhook_type in MESSAGES else "none"

    def _message(self, webhook_type: str, key: Key) -> Message:
        """The message it is about; events without one get it only so that the thread is not empty."""
        is_inbound = webhook_type != "outbound_sent"
        earlier = self.world.message_ids[key]
        if earlier and webhook_type not in MESSAGES:
            return self.world.messages[key[0], earlier[-1]]
        message = self._mail(key, is_inbound=is_inbound)
        add_message(self.world, message)
        return message

    def _mail(self, key: Key, *, is_inbound: bool) -> Message:
        earlier = self.world.message_ids[key]
        return Message(
            id=self.order.message or self.world.ids.new("msg"),
            company_id=self.company.id,
            conversation_id=key[1],
            is_inbound=is_inbound,
            created_at=self.at,
            subject=self.world.conversations[key].subject,
            text=mails.text(self.order),
            recipients=mails.recipients(self.order, self.company, is_inbound=is_inbound),
            attachments=mails.attachments(self.order, self.world.ids, self.elsewhere),
            author=None if is_inbound else self.company.teammates[0],
            replied_to=earlier[-1] if earlier else None,
        )

    def _happen(self, webhook_type: str, key: Key, message: Message) -> Event:
        kind = EVENT_TYPES[webhook_type]
        person = self.company.teammates[0] if kind.source == "teammate" else None
        source = Source(type=kind.source, teammate=person)
        if not self.order.is_forged:
            self._change(webhook_type, key, source)
        cause = Cause(source=source, at=self.at)
        target = self._target(webhook_type, message)
        event = make_event(self.world, key, kind.name, cause, target)
        event = replace(event, id=self.order.event or event.id)
        if kind.in_event_list and not self.order.is_forged:
            self.world.put_event(event)
        return event

    def _change(self, webhook_type: str, key: Key, source: Source) -> None:
        """Put the conversation into the state the event tells of."""
        conversation = self.world.conversations[key]
        tag = self.company.tags[1]
        others = tuple(each for each in conversation.tags if each != tag)
        match webhook_type:
            case "conversation_moved":
                conversation = replace(conversation, inbox_id=self.company.inboxes[1].id)
            case "assignee_changed":
                conversation = replace(conversation, assignee=self.company.teammates[1])
            case "tag_added":
                conversation = replace(conversation, tags=(*others, tag))
            case "tag_removed":
                conversation = replace(conversation, tags=others)
        if status := EVENT_TYPES[webhook_type].status:
            conversation = replace(conversation, status=status, updated_at=self.at)
            by = source.teammate.id if source.teammate else source.type
            do = EVENT_TYPES[webhook_type].name
            self.world.histories[key].append(PersonChanged(at=self.at, do=do, by=by))
        self.world.put_conversation(conversation)

    def _target(self, webhook_type: str, message: Message) -> Target | None:
        teammate, tag, ids = self.company.teammates[1], self.company.tags[1], self.world.ids
        if webhook_type == "new_comment_added":
            body = "Who takes this one?"
            return Comment(id=ids.new("com"), author=teammate, body=body, posted_at=self.at)
        if webhook_type in {"link_added", "link_removed"}:
            return Link(id=ids.new("top"), name="TASK-12", external_url="https://tasks.example/12")
        targets: dict[str, Target] = {
            "inbound_received": message,
            "outbound_sent": message,
            "message_delivery_failed": message,
            "conversation_moved": self.company.inboxes[1],
            "assignee_changed": teammate,
            "tag_added": tag,
            "tag_removed": tag,
        }
        return targets.get(webhook_type)


def _holds(conversation: Conversation, wish: str | None) -> bool:
    return wish == conversation.status or wish in {f"tag:{tag.id}" for tag in conversation.tags}
