"""Control of conversations: inspect one, act on it as a person would, and check its files."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sandbox.http_messages import BadRequest, Response, json_response
from sandbox.models import MergedConversations, PersonChanged, Recalled, Source
from sandbox.sample_data import attachment_sha256
from sandbox.world import Cause, emit_event, set_status

if TYPE_CHECKING:
    from collections.abc import Container

    from sandbox.front import Front
    from sandbox.http_messages import Request
    from sandbox.models import Key, Status

STATUS_AFTER: dict[str, Status] = {
    "reopen": "open",
    "archive": "archived",
    "trash": "deleted",
    "restore": "open",
}


def inspect_conversation(front: Front, request: Request, conversation_id: str) -> Response:
    """Status, tags, history and API calls. `?company=` chooses if two companies have the id."""
    key = _conversation_key(front, request.first("company"), conversation_id)
    conversation = front.world.conversations[key]
    former_ids = [old for (owner, old), new in front.world.merged.items() if (owner, new) == key]
    calls = [call for each in (key[1], *former_ids) for call in front.ledger.calls(company=key[0], conversation=each)]
    return json_response(
        {
            "id": conversation.id,
            "company": key[0],
            "status": conversation.status,
            "tags": [tag.id for tag in conversation.tags],
            "assignee": conversation.assignee and conversation.assignee.id,
            "merged_from": former_ids,
            "history": [asdict(entry) for entry in front.world.histories[key]],
            "calls": calls,
        }
    )


def act_on_conversation(front: Front, request: Request, conversation_id: str) -> Response:
    """Change the status as a teammate or a rule would, or merge it into another conversation."""
    body = request.json()
    if isinstance(body, dict) and body.get("do") == "merge":
        return _merge(front, body, conversation_id)
    if not isinstance(body, dict) or body.get("do") not in STATUS_AFTER:
        raise BadRequest(
            f"an act is {{do, by?, webhook?, company?}}; do is merge (with into) or one of {', '.join(STATUS_AFTER)}"
        )
    by = body.get("by", "teammate")
    if by not in {"teammate", "rule"}:
        raise BadRequest("by is teammate or rule")
    key = _conversation_key(front, body.get("company"), conversation_id)
    person = front.world.companies[key[0]].teammates[0] if by == "teammate" else None
    with front.world.lock:
        at = front.now()
        cause = Cause(source=Source(type=by, teammate=person), at=at)
        event = set_status(front.world, key, STATUS_AFTER[body["do"]], cause)
        if event:
            front.world.histories[key].append(PersonChanged(at=at, do=body["do"], by=by))
    if event and body.get("webhook"):
        front.announce(event)
    return json_response({"changed": event is not None, "event_id": event and event.id})


def recall_conversation(front: Front, request: Request, conversation_id: str) -> Response:
    """Record that the API's changes are to be undone. `{company?}` chooses if two companies have the id."""
    body = request.json()
    key = _conversation_key(front, body.get("company") if isinstance(body, dict) else None, conversation_id)
    with front.world.lock:
        front.world.histories[key].append(Recalled(at=front.now()))
    return json_response({"recalled": key[1]})


def inspect_file(front: Front, request: Request, attachment_id: str) -> Response:
    """Size and checksum of an attachment."""
    key = _key(front, front.world.attachments, request.first("company"), attachment_id)
    attachment = front.world.attachments[key]
    checksum = attachment_sha256(*key, attachment.size)
    return json_response({"id": attachment.id, "size": attachment.size, "sha256": checksum})


def _merge(front: Front, body: dict[str, Any], conversation_id: str) -> Response:
    key = _conversation_key(front, body.get("company"), conversation_id)
    into = _conversation_key(front, key[0], str(body.get("into")))
    if into == key:
        raise BadRequest("a conversation cannot be merged into itself")
    at, person = front.now(), front.world.companies[key[0]].teammates[0]
    with front.world.lock:
        merged_into = front.world.merge(key, at, into[1])
        if body.get("webhook"):
            cause = Cause(source=Source(type="teammate", teammate=person), at=at)
            target = MergedConversations(ids=(conversation_id,))
            front.announce(emit_event(front.world, into, "conversations_merged", cause, target))
    return json_response({"merged_into": merged_into})


def _conversation_key(front: Front, company_id: str | None, conversation_id: str) -> Key:
    return _key(front, front.world.conversations, company_id, conversation_id)


def _key(front: Front, store: Container[Key], company_id: str | None, resource_id: str) -> Key:
    """Find the present key of a resource. Without a company, the first company that has it counts."""
    owners = [company_id] if company_id else list(front.world.companies)
    for owner in owners:
        key = front.world.surviving((owner, resource_id))
        if key in store:
            return key
    raise BadRequest(f"no such id: {resource_id}")
