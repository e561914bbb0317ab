"""Events as Front prints them: in `GET /events`, and inside a webhook's envelope."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.models import Comment, Event, Inbox, Link, Message, Tag, Target, Teammate

if TYPE_CHECKING:
    from sandbox.serializers import Bodies, Json


def event_body(bodies: Bodies, event: Event) -> Json:
    """The Event resource; `target` is absent, not null, where Front leaves it out."""
    body: Json = {
        "_links": {"self": f"{bodies.base}/events/{event.id}"},
        "id": event.id,
        "type": event.type,
        "emitted_at": event.emitted_at,
        "conversation": bodies.conversation(event.conversation),
        "source": _source(bodies, event),
    }
    if event.target is not None:
        body["target"] = _target(bodies, event.target, event.conversation.id)
    return body


def envelope(webhook_type: str, company_id: str, payload: Json) -> Json:
    """The body of an application webhook."""
    return {"type": webhook_type, "authorization": {"id": company_id}, "payload": payload}


def _source(bodies: Bodies, event: Event) -> Json:
    source = event.source
    meta = {"_meta": {"type": source.type}}
    if source.type == "inboxes":
        inboxes = [inbox for inbox in bodies.company.inboxes if inbox.id == event.conversation.inbox_id]
        return {**meta, "data": [bodies.inbox(inbox) for inbox in inboxes]}
    if source.type == "rule":
        return {**meta, "data": bodies.rule()}
    return {**meta, "data": source.teammate and bodies.teammate(source.teammate)}


def _target(bodies: Bodies, target: Target, conversation_id: str) -> Json:
    name, data = _named(bodies, target, conversation_id)
    return {"_meta": {"type": name}, "data": data}


def _named(bodies: Bodies, target: Target, conversation_id: str) -> tuple[str, Json]:
    match target:
        case Message():
            return "message", bodies.message(target)
        case Comment():
            return "comment", bodies.comment(target, conversation_id)
        case Tag():
            return "tag", bodies.tag(target)
        case Link():
            return "link", bodies.link(target)
        case Teammate():
            return "teammate", bodies.teammate(target)
        case Inbox():
            return "inboxes", bodies.inbox(target)
