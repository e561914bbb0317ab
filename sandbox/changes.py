"""How a conversation changes: each change is a new record and an event, as in Front."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sandbox.models import Arrived, Conversation, Event, Inbox, Message, Source, Status, Tag, Target, Teammate

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sandbox.models import Key
    from sandbox.world import World


@dataclass(frozen=True, kw_only=True, slots=True)
class Cause:
    """Who changes something, and when."""

    source: Source
    at: float


EVENT_OF_STATUS = {"archived": "archive", "deleted": "trash", "spam": "trash"}


def begin(world: World, wanted: Key, inbox_id: str, subject: str, at: float) -> Key:
    """The key of a conversation as it lives now, newly begun in this inbox if it is not there yet."""
    key = world.surviving(wanted)
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


def arrive(world: World, message: Message) -> Conversation:
    """Let a message come in or go out; one that comes in reopens what was archived or trashed."""
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
    """What happened to a conversation as it is now; nobody can see it yet."""
    return Event(
        id=world.ids.new("evt"),
        type=event_type,
        emitted_at=cause.at,
        conversation=world.conversations[key],
        source=cause.source,
        target=target,
    )


def emit(world: World, key: Key, event_type: str, cause: Cause, target: Target | None = None) -> Event:
    """Make an event and list it where the API shows it."""
    event = make_event(world, key, event_type, cause, target)
    world.put_event(event)
    return event


def set_status(world: World, key: Key, status: Status, cause: Cause) -> Event | None:
    """Archive, trash or open; None when the conversation was so already."""
    before = world.conversations[key]
    if before.status == status:
        return None
    world.put_conversation(replace(before, status=status, updated_at=cause.at))
    opened = "restore" if before.status in {"deleted", "spam"} else "reopen"
    return emit(world, key, EVENT_OF_STATUS.get(status, opened), cause)


def set_tags(world: World, key: Key, tags: Iterable[Tag], cause: Cause) -> list[Event]:
    """Give a conversation exactly these tags; one event for each that came or went."""
    before = world.conversations[key]
    wanted = tuple(tags)
    world.put_conversation(replace(before, tags=wanted, updated_at=cause.at))
    came = [emit(world, key, "tag", cause, tag) for tag in wanted if tag not in before.tags]
    went = [emit(world, key, "untag", cause, tag) for tag in before.tags if tag not in wanted]
    return came + went


def set_assignee(world: World, key: Key, teammate: Teammate | None, cause: Cause) -> Event | None:
    """Assign or unassign; None when nothing changed."""
    before = world.conversations[key]
    if before.assignee == teammate:
        return None
    world.put_conversation(replace(before, assignee=teammate, updated_at=cause.at))
    return emit(world, key, "assign" if teammate else "unassign", cause, teammate)


def set_inbox(world: World, key: Key, inbox: Inbox, cause: Cause) -> Event | None:
    """Move to another inbox; None when nothing changed."""
    before = world.conversations[key]
    if before.inbox_id == inbox.id:
        return None
    world.put_conversation(replace(before, inbox_id=inbox.id, updated_at=cause.at))
    return emit(world, key, "move", cause, inbox)
