"""The event list of a company: the only way to find what a lost webhook would have told."""

from __future__ import annotations

import bisect
import math
import sys
from typing import TYPE_CHECKING, Any

from sandbox.api.paging import page
from sandbox.http_messages import Response, http_error, json_response

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sandbox.api.call import Call
    from sandbox.http_messages import Request
    from sandbox.models import Event

MOST = 15
FIRST, LAST = 0, sys.maxsize  # of the events of one moment


def show(call: Call) -> Response:
    """One event."""
    return json_response(call.serializer.event(call.find("event", call.front.world.events)))


def listing(call: Call) -> Response:
    """Newest first unless asked otherwise, at most 15 a page; `after` and `before` are exclusive."""
    after, before = (_time(call.request, name) for name in ("after", "before"))
    types, inboxes = (_values(call.request, name) for name in ("types", "inboxes"))
    world, company_id = call.front.world, call.grant.company
    with world.lock:
        marks = world.event_positions[company_id]
        start = 0 if after is None else bisect.bisect_right(marks, (after, LAST, ""))
        end = len(marks) if before is None else bisect.bisect_left(marks, (before, FIRST, ""))
        events = [world.events[company_id, event_id] for _, _, event_id in marks[start:end]]
    chosen = [
        event
        for event in events
        if (not types or event.type in types) and (not inboxes or event.conversation.inbox_id in inboxes)
    ]
    return json_response(event_page(call, chosen, most=MOST, usual=MOST))


def event_page(call: Call, oldest_first: Sequence[Event], *, most: int, usual: int) -> dict[str, Any]:
    """A page of events in the order the request asks for."""
    ascending = call.request.first("sort_order") == "asc"
    return page(
        call.front.base,
        call.request,
        oldest_first if ascending else oldest_first[::-1],
        mark=lambda event: event.id,
        body=call.serializer.event,
        most=most,
        usual=usual,
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
