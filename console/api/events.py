"""The routes of events: lists, all that is known of one, and its body."""

from __future__ import annotations

import zlib
from dataclasses import replace
from datetime import datetime
from typing import Any

from flask import Response, request
from pydantic import Field
from werkzeug.wrappers import Response as WerkzeugResponse

from console.api.blueprint import (
    EVENTS,
    api,
    bound_tenant,
    current_actor,
    needs,
    problem_responses,
    reading,
    reads,
    run,
)
from console.api.lists import ListPage, WorkQuery, cut, number_after, read_filter
from console.api.problems import BodyGone, UnknownEvent
from console.api.schemas import NumberPath, Parameters, ResponseBody
from console.attachment_content import AttachmentGone, UnknownAttachment, content_response
from console.event_document import event_document
from console.filter_words import EVENT_LIST
from console.operations.audited import Change, carry_out
from console.web.resources import current_resources
from shared.db.reading import attachments, events
from shared.db.reading.events import EventDetails, EventSummary

BYTES = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}


class LinkQuery(Parameters):
    """What the signed link of a notification has. Nobody else sends it."""

    expires: int | None = Field(None, description="When the link ends (Unix seconds)")
    signature: str | None = Field(None, max_length=200, description="The signature of the link")


class EventsQuery(WorkQuery):
    """A page of events, the newest first."""

    email: str | None = Field(
        None,
        description="Only with this recipient or user: an address, together with since, tenant or conversation",
    )
    id: str | None = Field(None, max_length=events.LONGEST_NAME, description="Front's id, ours, or a delivery's")


class EventPage(ListPage):
    """A page of events."""

    events: list[EventSummary]


class EventShown(ResponseBody):
    """All that is known of an event but its body: the document of `mailroom event show --json`."""

    id: str = Field(description="Front's id")
    number: int = Field(description="Our number")
    company_id: str
    tenant: str | None
    type: str
    state: str
    cause: str | None
    conversation_id: str | None
    message_id: str | None
    emitted_at: datetime | None
    deliveries: list[dict[str, Any]]
    recipients: list[dict[str, Any]] = Field(description="Each address with its role, its user, and why it matched")
    attachments: list[dict[str, Any]]
    action: dict[str, Any] | None
    tasks: list[dict[str, Any]]
    timeline: list[dict[str, Any]] = Field(description="What happened, by time: `at`, `what` and details")


@api.get("/events", tags=[EVENTS], responses={200: EventPage})
def list_events(query: EventsQuery) -> dict[str, Any]:
    """List the newest events that match. With `id` only those with this id, which is unique within a company."""
    with reading() as conn:
        wanted = read_filter(conn, query, EVENT_LIST)
        if query.id is not None:
            found = events.find_by_any_id(conn, query.id, tenant_id=wanted.tenant_id)
            return {"events": found[: query.limit], "next": None}
        wanted = replace(wanted, before_id=number_after(query.after))
        rows = events.latest(conn, wanted, limit=query.limit + 1)
    page, following = cut(rows, query.limit, lambda row: [row.number])
    return {"events": page, "next": following}


@api.get("/events/<int:number>", tags=[EVENTS], responses={200: EventShown})
def show_event(path: NumberPath) -> dict[str, Any]:
    """Show all that is known of an event: deliveries, recipients, files, tasks and their time line. Not its body."""
    return event_document(_find(path.number))


@api.post(
    "/events/<int:number>/reveal",
    tags=[EVENTS],
    responses={
        200: {
            "description": "The bytes that Front sent",
            "content": BYTES,
        }
    },
)
@needs("reveal")
def reveal_event(path: NumberPath) -> Response:
    """Get the body of an event as Front sent it, byte for byte. The audit says who looked."""
    unknown = _unknown(path.number)
    with reading() as conn:
        found = events.event_details(conn, path.number)
    if found is None:
        raise unknown
    look = Change(verb="reveal", target=f"event {path.number}", tenant_id=found.header.tenant_id)
    body = carry_out(run, current_actor(), look, lambda conn: events.first_body(conn, path.number), unseen=unknown)
    if body is None:
        raise BodyGone("the body is no longer stored")
    return Response(zlib.decompress(body), content_type="application/octet-stream")


@api.get(
    "/attachments/<int:number>/content",
    tags=[EVENTS],
    responses={
        200: {"description": "The bytes of the file", "content": BYTES},
        206: {"description": "A part of them, as the header Range asks", "content": BYTES},
        304: {"description": "You have them: If-None-Match names the ETag, which is the sha256"},
        **problem_responses(409, 410, 416),
    },
)
@reads("download")
def download_attachment(path: NumberPath, query: LinkQuery) -> WerkzeugResponse:  # noqa: ARG001 -- authorize reads it
    """Download a file: `number` of an attachment in an event's document. It answers to Range, If-Range, If-None-Match.

    The `download_url` of a notification needs no token. 409: the file is not stored yet, or could not be stored.
    410: it was deleted, for its age or from the storage.
    """
    with reading() as conn:
        found = attachments.find(conn, path.number)
        deleted = found is None and bound_tenant() is None and attachments.was_deleted(conn, path.number)
    if deleted:
        raise AttachmentGone(f"file {path.number} was deleted with its event")
    if found is None or not current_actor().may("download", found.tenant_id):
        raise UnknownAttachment(f"there is no file {path.number}")
    return content_response(current_resources(), found, request.environ)


def _find(number: int) -> EventDetails:
    with reading() as conn:
        found = events.event_details(conn, number)
    if found is None or bound_tenant() not in {None, found.header.tenant_id}:
        raise _unknown(number)
    return found


def _unknown(number: int) -> UnknownEvent:
    return UnknownEvent(f"there is no event {number}")
