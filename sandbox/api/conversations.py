"""Conversations: read them, change them, tag them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sandbox.api.paging import page
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


def show(call: Call) -> Response:
    """One conversation as it is now."""
    return json_response(call.serializer.conversation(call.conversation()))


def events(call: Call) -> Response:
    """What happened to it, newest first."""
    call.conversation()
    world = call.front.world
    with world.lock:
        happened = [world.events[call.grant.company, event_id] for event_id in world.event_ids[call.key]]
    happened.sort(key=lambda event: event.emitted_at)
    return json_response(event_page(call, happened, most=100, usual=50))


def messages(call: Call) -> Response:
    """Its messages, newest first."""
    call.conversation()
    world = call.front.world
    with world.lock:
        found = [world.messages[call.grant.company, each] for each in reversed(world.message_ids[call.key])]
    listing = page(call.front.base, call.request, found, mark=lambda message: message.id, body=call.serializer.message)
    return json_response(listing)


def update(call: Call) -> Response:
    """PATCH: everything in the body, or nothing when any of it is wrong."""
    call.conversation()
    body = _checked(call.request.json())
    assignee = _teammate(call, body["assignee_id"]) if body.get("assignee_id") else None
    inbox = _inbox(call, body["inbox_id"]) if "inbox_id" in body else None
    tags = _tags(call, body["tag_ids"]) if "tag_ids" in body else None
    with call.front.world.lock:
        conversation = call.conversation()
        if "status" in body:
            _apply(call, body["status"], [_event_of_status(call, body["status"])])
        if tags is not None:
            _replace_tags(call, conversation.tags, tags)
        world, key = call.front.world, call.key
        if "assignee_id" in body:
            _apply(call, "assign", [set_assignee(world, key, assignee, call.cause)])
        if inbox:
            _apply(call, "move", [set_inbox(world, key, inbox, call.cause)])
    return Response(status=204)


def add_tags(call: Call) -> Response:
    """POST tags: those that are there already stay."""
    added = _tags(call, _tag_ids(call))
    with call.front.world.lock:
        before = call.conversation().tags
        _replace_tags(call, before, [*before, *added], wanted=added)
    return Response(status=204)


def remove_tags(call: Call) -> Response:
    """DELETE tags, with a body as Front wants it."""
    removed = _tags(call, _tag_ids(call))
    with call.front.world.lock:
        before = call.conversation().tags
        _replace_tags(call, before, [tag for tag in before if tag not in removed], wanted=())
    return Response(status=204)


def _checked(body: Any) -> dict[str, Any]:
    if body is None:
        # What a client sends that follows a 301 by itself: Front takes it for no change at all.
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


def _event_of_status(call: Call, status: Any) -> Event | None:
    return set_status(call.front.world, call.key, status, call.cause)


def _replace_tags(
    call: Call, before: Iterable[Tag], after: Iterable[Tag], *, wanted: Iterable[Tag] | None = None
) -> None:
    """Set the tags; `wanted` are those whose presence the caller asked for, all of them by default."""
    there, final = set(before), list(dict.fromkeys(after))
    happened = set_tags(call.front.world, call.key, final, call.cause)
    for tag in final if wanted is None else wanted:
        _note(call, f"tag:{tag.id}", changed=tag not in there)
    if there - set(final):
        _note(call, "untag", changed=True)
    _echo(call, happened)


def _apply(call: Call, wish: str, happened: list[Event | None]) -> None:
    _note(call, wish, changed=any(happened))
    _echo(call, [event for event in happened if event])


def _note(call: Call, wish: str, *, changed: bool) -> None:
    effect = Effect(at=call.at, wish=wish, changed=changed, by=call.grant.type)
    call.front.world.histories[call.key].append(effect)


def _echo(call: Call, happened: Iterable[Event]) -> None:
    if call.front.settings.echo:
        for event in happened:
            call.front.announce(event)
