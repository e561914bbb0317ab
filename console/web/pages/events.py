"""The events: a list by filter words, and all that is known of one event, from the door to its action."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from flask import abort, flash, redirect, request, url_for

from console.attachment_content import (
    AttachmentGone,
    AttachmentNotStored,
    DownloadsBusy,
    content_response,
    require_stored,
)
from console.event_document import timeline
from console.filter_words import EVENT_LIST
from console.operations import events as operations
from console.operations.audited import Change, carry_out
from console.operations.events import RunOrder, UnknownEvent
from console.run_again import STEPS, possible_runs, version_of
from console.web.pages.shell import (
    PAGE_SIZE,
    back,
    current_actor,
    list_values,
    older_address,
    page,
    read_filter,
    reading,
    render,
)
from console.web.problems import problem_page
from console.web.resources import current_resources
from console.why_nothing import what_it_waits_for, why_nothing
from shared.db.reading import attachments, events
from shared.errors import BodyGone, ConfigurationError, StorageUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from flask import Response
    from flask.typing import ResponseReturnValue

    from shared.db.reading.attachments import AttachmentFile
    from shared.db.reading.events import EventDetails


LONGEST_COPY = 500_000  # characters that a page shows
CURL = (
    "Run it where the door runs, or change the address. The door takes it for {minutes} minutes: the signature is of "
    "this moment. It is the same event, so what is recorded already is recorded as a repeated delivery."
)
FIXTURE = (
    "Save it as event.json, and send it with: mailroom sandbox send --body event.json. Each sending is a new event of "
    "the sandbox's own company. The addresses are examples; names and the subject are as Front sent them."
)


@page("/events")
def events_page() -> ResponseReturnValue:
    """List the newest events that match; an id alone leads to its event."""
    with reading() as conn:
        listing = read_filter(conn, EVENT_LIST)
        name = listing.words.name
        rows = events.find_by_any_id(conn, name) if name else events.latest(conn, listing.filter, limit=PAGE_SIZE)
    if name and len(rows) == 1:
        return redirect(url_for("pages.event_page", number=rows[0].number), 303)
    return render(
        "pages/events.html",
        title="Events",
        section="Events",
        rows=rows,
        **list_values(listing),
        older=older_address([row.number for row in rows]),
    )


@page("/events/<int:number>")
def event_page(number: int) -> ResponseReturnValue:
    """Show one event with its addresses masked."""
    return _event_page(_event(number), revealed=False)


@page("/events/<int:number>/reveal", verb="reveal", methods=("POST",))
def reveal_event(number: int) -> ResponseReturnValue:
    """Show one event with its addresses and its body, once, and write into the audit who looked."""
    try:
        body = operations.reveal_body(current_resources().pool.run, current_actor(), number)
    except UnknownEvent:
        abort(404)
    except BodyGone:
        return _event_page(_event(number), revealed=True)
    return _event_page(_event(number), revealed=True, body=body)


@page("/events/<int:number>/curl", verb="reveal", methods=("POST",))
def copy_as_curl(number: int) -> ResponseReturnValue:
    """Show a command that sends the body to the door again."""
    settings = current_resources().settings
    return _copy_page(
        number,
        "A command that sends it again",
        lambda: operations.copy_as_curl(current_resources().pool.run, current_actor(), number, settings),
        CURL.format(minutes=settings.freshness_seconds // 60),
    )


@page("/events/<int:number>/fixture", verb="reveal", methods=("POST",))
def copy_as_fixture(number: int) -> ResponseReturnValue:
    """Show an order for the sandbox that sends an event like this one."""

    def copy() -> str:
        order = operations.copy_as_fixture(current_resources().pool.run, current_actor(), number)
        return json.dumps(order, indent=1)  # in ASCII: whatever a name holds can be copied

    return _copy_page(number, "A fixture for the sandbox", copy, FIXTURE)


@page("/events/<int:number>/run-again", verb="run_again", methods=("POST",))
def run_event_again(number: int) -> ResponseReturnValue:
    """Run the event again from a step."""
    place = url_for("pages.event_page", number=number)
    step = request.form.get("step")
    if step not in STEPS:
        abort(422)
    order = RunOrder(step=step, file=request.form.get("file") or None, version=request.form.get("version"))
    try:
        chosen = operations.run_again(current_resources().pool.run, current_actor(), number, order)
    except UnknownEvent:
        abort(404)
    except operations.CannotRunAgain as refusal:
        return problem_page(409, "It does not run again", f"{refusal}.", again=place)
    flash(f"Event {number} runs again from {chosen.verb}.")
    return back(place)


def _copy_page(number: int, title: str, copy: Callable[[], str], how: str) -> ResponseReturnValue:
    """Show a copy of the event's body, or why there is none."""
    place = url_for("pages.event_page", number=number)
    try:
        text = copy()
    except UnknownEvent:
        abort(404)
    except (BodyGone, ConfigurationError, operations.NoFixture) as problem:
        return problem_page(422, "There is no copy of it", f"{problem}.", again=place)
    if len(text) > LONGEST_COPY:
        size = f"It has {len(text):,} characters; `mailroom event show {number}` prints it with --curl or --fixture."
        return problem_page(422, "The copy is too long for a page", size, again=place)
    return render("pages/copy.html", title=title, section="Events", text=text, how=how, event=place)


@page("/attachments/<int:number>/download", verb="download", methods=("POST",))
def download_attachment(number: int) -> ResponseReturnValue:
    """Give the bytes of a file, and write into the audit who took them."""
    with reading() as conn:
        found = attachments.find(conn, number)
    if found is None:
        abort(404)
    try:
        return _download(found)
    except (AttachmentNotStored, AttachmentGone) as refusal:
        status = 410 if isinstance(refusal, AttachmentGone) else 409
        return _no_download(found, status, f"{refusal}.")
    except (StorageUnavailable, DownloadsBusy, ConfigurationError) as refusal:
        return _no_download(found, 503, f"{refusal}.")


def _download(attachment: AttachmentFile) -> ResponseReturnValue:
    require_stored(attachment)
    resources = current_resources()
    target = f"file {attachment.number} of event {attachment.event}"
    change = Change(verb="download", target=target, tenant_id=attachment.tenant_id)
    carry_out(resources.pool.run, current_actor(), change, lambda _: None)
    return content_response(resources, attachment, request.environ)


def _no_download(attachment: AttachmentFile, status: int, why: str) -> Response:
    again = url_for("pages.event_page", number=attachment.event)
    return problem_page(status, "The file cannot be downloaded", why[0].upper() + why[1:], again=again)


def _file_types(event: EventDetails) -> Mapping[str, str | None]:
    """Return the types of the event's stored files by their bytes, under the hash of each."""
    stored = [(each.sha256, each.path, each.size) for each in event.attachments if each.path]
    return current_resources().file_types.find([(a, b, c) for a, b, c in stored if a and b and c])


def _event(number: int) -> EventDetails:
    with reading() as conn:
        found = events.event_details(conn, number)
    if found is None:
        abort(404)
    return found


def _event_page(event: EventDetails, *, revealed: bool, body: bytes | None = None) -> Response:
    return render(
        "pages/event.html",
        title=f"Event {event.header.number}",
        section="Events",
        event=event,
        moments=timeline(event),
        reasons=why_nothing(event),
        file_types=_file_types(event),
        waits=what_it_waits_for(event),
        runs=possible_runs(event),
        version_seen=version_of(event),
        front_url=current_resources().settings.front_app_url,
        revealed=revealed,
        body=None if body is None else body.decode("utf-8", "replace"),
    )
