"""The events: a list by filter words, and all that is known of one event, from the door to its action."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from flask import abort, redirect, request, url_for

from console.attachment_content import (
    AttachmentGone,
    AttachmentNotStored,
    DownloadsBusy,
    content_response,
    require_stored,
)
from console.event_document import timeline
from console.filter_words import EVENT_LIST
from console.operations.audited import Change, carry_out
from console.web.pages.shell import (
    PAGE_SIZE,
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
from console.why_nothing import why_nothing
from shared.db.reading import attachments, events
from shared.errors import ConfigurationError, StorageUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask import Response
    from flask.typing import ResponseReturnValue

    from shared.db.reading.attachments import AttachmentFile
    from shared.db.reading.events import EventDetails


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
    found = _event(number)
    change = Change(verb="reveal", target=f"event {number}", tenant_id=found.header.tenant_id)
    body = carry_out(
        current_resources().pool.run, current_actor(), change, lambda conn: events.first_body(conn, number)
    )
    return _event_page(found, revealed=True, body=body)


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
    stored = [(each.sha256, each.path, each.size) for each in event.attachments if each.state == "stored"]
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
        front_url=current_resources().settings.front_app_url,
        revealed=revealed,
        body=zlib.decompress(body).decode("utf-8", "replace") if body else None,
    )
