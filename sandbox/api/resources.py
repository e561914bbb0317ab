"""Handlers that read: `/me`, the parts of a company, messages, attachments and events."""

from __future__ import annotations

import bisect
import math
import sys
from typing import TYPE_CHECKING
from urllib.parse import quote

from sandbox.faults import UTF8_FILE
from sandbox.http_messages import Response, Stream, http_error, json_response
from sandbox.sample_data import attachment_chunks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sandbox.api.call import Call
    from sandbox.http_messages import Request
    from sandbox.models import Event
    from sandbox.serializers import Json

MAX_EVENTS = 15
FIRST, LAST = 0, sys.maxsize  # before and after all events of the same time


def show_me(call: Call) -> Response:
    """The company of the token."""
    return json_response(call.serializer.identity())


def list_teammates(call: Call) -> Response:
    """All teammates, also bots and blocked ones; not paged."""
    return json_response(call.unpaged([call.serializer.teammate(each) for each in call.company.teammates]))


def list_inboxes(call: Call) -> Response:
    """All inboxes, also private ones; not paged."""
    return json_response(call.unpaged([call.serializer.inbox(each) for each in call.company.inboxes]))


def list_channels(call: Call) -> Response:
    """One channel for each inbox; not paged."""
    return json_response(call.unpaged([call.serializer.channel(each) for each in call.company.inboxes]))


def list_tags(call: Call) -> Response:
    """All tags, also private ones."""
    return json_response(call.page(call.company.tags, item_id=lambda tag: tag.id, serialize=call.serializer.tag))


def show_message(call: Call) -> Response:
    """One message in full."""
    return json_response(call.serializer.message(call.find("message", call.front.world.messages)))


def download_attachment(call: Call) -> Response:
    """The bytes of an attachment, exactly as many as its description says.

    After the redirect of `redirect_utf8`, only a client that kept the name in the address finds the file.
    """
    attachment = call.find("attachment", call.front.world.attachments)
    if call.request.first("file") not in {None, UTF8_FILE}:
        raise http_error(404, "Unknown file")
    company_id, attachment_id = call.key
    filename = quote(attachment.filename.encode("utf-8", "replace"), safe="")
    return Response(
        headers={
            "Content-Type": attachment.content_type,
            "Content-Disposition": f"attachment; filename*=UTF-8''{filename}",
        },
        body=Stream(
            length=attachment.size, chunks=lambda: attachment_chunks(company_id, attachment_id, attachment.size)
        ),
    )


def show_event(call: Call) -> Response:
    """One event."""
    return json_response(call.serializer.event(call.find("event", call.front.world.events)))


def list_events(call: Call) -> Response:
    """The company's events, at most 15 a page; `after` and `before` are exclusive.

    It is the only way to find events whose webhooks were lost.
    """
    after, before = (_time(call.request, name) for name in ("after", "before"))
    types, inboxes = (_values(call.request, name) for name in ("types", "inboxes"))
    world, company_id = call.front.world, call.grant.company
    with world.lock:
        positions = world.event_positions[company_id]
        start = 0 if after is None else bisect.bisect_right(positions, (after, LAST, ""))
        end = len(positions) if before is None else bisect.bisect_left(positions, (before, FIRST, ""))
        events = [world.events[company_id, event_id] for _, _, event_id in positions[start:end]]
    chosen = [
        event
        for event in events
        if (not types or event.type in types) and (not inboxes or event.conversation.inbox_id in inboxes)
    ]
    return json_response(event_page(call, chosen, max_limit=MAX_EVENTS, default_limit=MAX_EVENTS))


def event_page(call: Call, oldest_first: Sequence[Event], *, max_limit: int, default_limit: int) -> Json:
    """A page of events, newest first unless the request says otherwise."""
    is_ascending = call.request.first("sort_order") == "asc"
    return call.page(
        oldest_first if is_ascending else oldest_first[::-1],
        item_id=lambda event: event.id,
        serialize=call.serializer.event,
        max_limit=max_limit,
        default_limit=default_limit,
    )


def _values(request: Request, name: str) -> list[str]:
    return [*request.query.get(f"q[{name}][]", []), *request.query.get(f"q[{name}]", [])]


def _time(request: Request, name: str) -> float | None:
    given = request.first(f"q[{name}]")
    if given is None:
        return None
    try:
        value = float(given)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        details = [f"query.q.{name}: should be number"]
        raise http_error(400, "Body did not satisfy requirements", details=details)
    return value
