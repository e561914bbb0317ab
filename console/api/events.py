"""The routes of events: lists, all that is known of one, and its body."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from flask import Response, request
from pydantic import ConfigDict, Field
from werkzeug.wrappers import Response as WerkzeugResponse

from console.api.blueprint import (
    BODY_PROBLEMS,
    CONFLICT,
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
from console.api.schemas import NumberPath, Parameters, RequestBody, ResponseBody
from console.attachment_content import AttachmentGone, UnknownAttachment, content_response
from console.event_document import event_document
from console.filter_words import EVENT_LIST
from console.operations import events as operations
from console.operations.events import RunOrder, UnknownEvent
from console.run_again import Step
from console.web.resources import current_resources
from shared.db.reading import attachments, events
from shared.db.reading.events import EventDetails, EventSummary

BYTES = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
LONGEST_ID = 200  # characters


class LinkQuery(Parameters):
    """The parameters of a notification's signed link. Nobody else sends them."""

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
    action_waits_for: list[str] = Field(description="In sentences; none where it waits for nothing")
    tasks: list[dict[str, Any]]
    timeline: list[dict[str, Any]] = Field(description="What happened, by time: `at`, `what` and details")
    version: str = Field(description="It changes with the tasks, the files and the action: see `run-again`")
    possible_runs: list[dict[str, Any]] = Field(
        description="Each step to run the event again from: `from`, `file`, and `effects` or `why_not`"
    )


class RunAgainOrder(RequestBody):
    """From which step to run an event again."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"from": "store_attachment", "file": "fil_3vq81c"}}, populate_by_name=True
    )

    step: Step = Field(alias="from", description="The step; those after it are done again, too")
    file: str | None = Field(None, max_length=LONGEST_ID, description="Front's id of the only file to store again")
    version: str | None = Field(
        None, max_length=LONGEST_ID, description="The event's `version` when you read it; else nothing is done"
    )


class CurlCommand(ResponseBody):
    """A command for a POSIX shell."""

    command: str = Field(description="It sends the body to the door, signed for this moment")


class SandboxOrder(ResponseBody):
    """An order that `mailroom sandbox send --body FILE` sends."""

    type: str
    subject: str | None = None
    recipients: list[dict[str, Any]] | None = None
    attachments: list[dict[str, Any]] | None = None
    fault: str | None = Field(None, description="What the body left out")


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
    body = operations.reveal_body(run, current_actor(), path.number)
    return Response(body, content_type="application/octet-stream")


@api.post("/events/<int:number>/curl", tags=[EVENTS], responses={200: CurlCommand})
@needs("reveal")
def copy_event_as_curl(path: NumberPath) -> dict[str, str]:
    """Get a command that sends the body to the door again, signed now, without the key. The audit says who asked."""
    settings = current_resources().settings
    return {"command": operations.copy_as_curl(run, current_actor(), path.number, settings)}


@api.post("/events/<int:number>/fixture", tags=[EVENTS], responses={200: SandboxOrder})
@needs("reveal")
def copy_event_as_fixture(path: NumberPath) -> dict[str, Any]:
    """Get an order for the sandbox: an event like this one, with example addresses. The audit says who asked."""
    return operations.copy_as_fixture(run, current_actor(), path.number)


@api.post("/events/<int:number>/run-again", tags=[EVENTS], responses={200: EventShown, **BODY_PROBLEMS, **CONFLICT})
@needs("run_again")
def run_event_again(path: NumberPath, body: RunAgainOrder) -> dict[str, Any]:
    """Run an event again from a step on; `possible_runs` of the event says what happens then.

    Steps before it keep their results. A change that Front has is never sent twice.
    """
    order = RunOrder(step=body.step, file=body.file, version=body.version)
    operations.run_again(run, current_actor(), path.number, order)
    return event_document(_find(path.number))


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
        raise UnknownEvent(f"there is no event {number}")
    return found
