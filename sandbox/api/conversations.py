"""Handlers of conversations: read them, change them, tag them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sandbox.api.resources import event_page
from sandbox.http_messages import Response, http_error, json_response
from sandbox.models import Effect
from sandbox.world import set_assignee, set_inbox, set_status, set_tags

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sandbox.api.call import Call
    from sandbox.models import Event, Inbox, Tag, Teammate

STATUSES = ("archived", "open", "deleted", "spam")
FIELDS: dict[str, tuple[type, ...]] = {
    "status": (str,),
    "assignee_id": (str, type(None)),
    "inbox_id": (str,),
    "tag_ids": (list,),
    "custom_fields": (dict,),
}


def show_conversation(call: Call) -> Response:
    """The present state of a conversation."""
    return json_response(call.serializer.conversation(call.conversation()))


def list_conversation_events(call: Call) -> Response:
    """The events of a conversation."""
    call.conversation()
    world = call.front.world
    with world.lock:
        events = [world.events[call.grant.company, event_id] for event_id in world.event_ids[call.key]]
    events.sort(key=lambda event: event.emitted_at)
    return json_response(event_page(call, events, max_limit=100, default_limit=50))


def list_conversation_messages(call: Call) -> Response:
    """The messages of a conversation, newest first."""
    call.conversation()
    world = call.front.world
    with world.lock:
        messages = [world.messages[call.grant.company, each] for each in reversed(world.message_ids[call.key])]
    page = call.page(messages, item_id=lambda message: message.id, serialize=call.serializer.message)
    return json_response(page)


def update_conversation(call: Call) -> Response:
    """PATCH: apply everything in the body, or nothing if any of it is wrong."""
    call.conversation()
    body = _checked(call.request.json())
    assignee = _teammate(call, body["assignee_id"]) if body.get("assignee_id") else None
    inbox = _inbox(call, body["inbox_id"]) if "inbox_id" in body else None
    tags = _tags(call, body["tag_ids"]) if "tag_ids" in body else None
    with call.front.world.lock:
        conversation = call.conversation()
        world, key = call.front.world, call.key
        if "status" in body:
            _finish(call, body["status"], set_status(world, key, body["status"], call.cause))
        if tags is not None:
            _replace_tags(call, conversation.tags, tags)
        if "assignee_id" in body:
            _finish(call, "assign", set_assignee(world, key, assignee, call.cause))
        if inbox:
            _finish(call, "move", set_inbox(world, key, inbox, call.cause))
    return Response(status=204)


def add_tags(call: Call) -> Response:
    """POST tags: add them to those already there."""
    added = _tags(call, _tag_ids(call))
    with call.front.world.lock:
        before = call.conversation().tags
        _replace_tags(call, before, [*before, *added], requested=added)
    return Response(status=204)


def remove_tags(call: Call) -> Response:
    """DELETE tags, with a body as Front requires it."""
    removed = _tags(call, _tag_ids(call))
    with call.front.world.lock:
        before = call.conversation().tags
        _replace_tags(call, before, [tag for tag in before if tag not in removed], requested=())
    return Response(status=204)


def _checked(body: Any) -> dict[str, Any]:
    if body is None:
        # A client that follows a 301 by itself sends no body: Front changes nothing then.
        return {}
    if not isinstance(body, dict):
        raise http_error(400, "Body did not satisfy requirements", details=["body: should be object"])
    wrong = [name for name, value in body.items() if not isinstance(value, FIELDS.get(name, ()))]
    if body.get("status", "open") not in STATUSES:
        wrong.append("status")
    if wrong:
        raise http_error(400, "Body did not satisfy requirements", details=[f"body.{name}: invalid" for name in wrong])
    return body


def _tag_ids(call: Call) -> list[str]:
    call.conversation()
    body = call.request.json()
    tag_ids = body.get("tag_ids") if isinstance(body, dict) else None
    if not isinstance(tag_ids, list) or not tag_ids:
        raise http_error(400, "Body did not satisfy requirements", details=["body.tag_ids: should be array"])
    return tag_ids


def _tags(call: Call, tag_ids: Iterable[str]) -> list[Tag]:
    known = {tag.id: tag for tag in call.company.tags}
    if unknown := [tag_id for tag_id in tag_ids if tag_id not in known]:
        raise http_error(400, f"Unknown tag ID {unknown[0]}")
    return [known[tag_id] for tag_id in dict.fromkeys(tag_ids)]


def _teammate(call: Call, teammate_id: str) -> Teammate:
    for teammate in call.company.teammates:
        if teammate.id == teammate_id:
            return teammate
    raise http_error(400, f"Unknown teammate ID {teammate_id}")


def _inbox(call: Call, inbox_id: str) -> Inbox:
    for inbox in call.company.inboxes:
        if inbox.id == inbox_id:
            return inbox
    raise http_error(400, f"Unknown inbox ID {inbox_id}")


def _replace_tags(
    call: Call, before: Iterable[Tag], after: Iterable[Tag], *, requested: Iterable[Tag] | None = None
) -> None:
    """Set the tags, and record an effect for each of `requested`: by default all of `after`."""
    tags_before, tags_after = set(before), list(dict.fromkeys(after))
    events = set_tags(call.front.world, call.key, tags_after, call.cause)
    for tag in tags_after if requested is None else requested:
        _record_effect(call, f"tag:{tag.id}", changed=tag not in tags_before)
    if tags_before - set(tags_after):
        _record_effect(call, "untag", changed=True)
    _echo(call, events)


def _finish(call: Call, wish: str, event: Event | None) -> None:
    _record_effect(call, wish, changed=event is not None)
    _echo(call, [event] if event else [])


def _record_effect(call: Call, wish: str, *, changed: bool) -> None:
    effect = Effect(at=call.at, wish=wish, changed=changed, by=call.grant.type)
    call.front.world.histories[call.key].append(effect)


def _echo(call: Call, events: Iterable[Event]) -> None:
    """Send webhooks for the changes made through the API, if the settings say so."""
    if call.front.settings.echo:
        for event in events:
            call.front.announce(event)
