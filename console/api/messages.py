"""The feed for the host application: all notifications in their order, one of them, and the text of its message."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import orjson
from flask import Response, g, request
from pydantic import Field

from console.api.blueprint import (
    MESSAGES,
    api,
    bound_tenant,
    current_actor,
    problem_responses,
    reading,
    reads,
    run,
    text_response,
)
from console.api.notification_schemas import AnyNotification
from console.api.problems import Fault, Invalid, PartMissing, UnknownMessage
from console.api.schemas import NumberPath, Parameters, ResponseBody, SoughtText
from console.feed_watch import number_and_look
from console.filter_words import BadFilter
from console.web.resources import current_resources
from shared.db.host import facts, feed
from shared.db.host.feed import FeedFilter, NotificationRange
from shared.db.tenants import tenants
from shared.host.body import Links, build, content_of, links_at
from shared.host.notification import TYPES, Cursor, FeedState, Include, NotificationFacts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from shared.db.core.pool import Connection

LONGEST_WAIT = 30  # seconds
LONGEST_PAGE = 200  # notifications
PAGE_BYTES = 4 * 2**20  # of the bodies on a page; a page ends after the one that exceeds this
READ_AT_ONCE = 5  # notifications: what Front sent for one may have megabytes
LATEST = "latest"
GONE = problem_responses(410)


class FeedQuery(Parameters):
    """A page of the feed."""

    after: str | None = Field(
        None,
        max_length=100,
        description="`next` of the previous page, or a `position`; `latest`: from now on; unset: all that is kept",
    )
    limit: int = Field(50, ge=1, le=LONGEST_PAGE, description="Most notifications on a page")
    wait: int = Field(0, ge=0, le=LONGEST_WAIT, description="Seconds to wait for one where there is none")
    tenant: SoughtText | None = Field(None, max_length=200, description="Only this tenant: its name or company id")
    user: SoughtText | None = Field(
        None, max_length=200, description="Only messages for the user with this id of yours"
    )
    type: str | None = Field(None, max_length=1_000, description="Only these types, separated by commas")
    include: Include = Field("text", description="What of a message: text, html (both), or none")


class FeedPage(ResponseBody):
    """A page of the feed."""

    messages: list[AnyNotification]
    next: str = Field(description="Send it as `after` to go on, also when there is nothing yet")
    has_more: bool = Field(description="Whether there are more by now, so that you need not wait")


class MessagePath(Parameters):
    """The address of a notification."""

    message_id: Annotated[str, Field(pattern=r"^msg_[0-9a-f]{32}$", description="The `id` of a notification")]


class MessageQuery(Parameters):
    """The parts of a message to show."""

    include: Include = Field("text", description="What of a message: text, html (both), or none")


@api.get("/messages", tags=[MESSAGES], responses={200: FeedPage, **GONE})
@reads("messages")
def list_messages(query: FeedQuery) -> Response:
    """Read the feed: what was received, in the order in which it became ready, each with its position.

    HEAD tells in `Mailroom-Unread` and `Mailroom-Lag-Seconds` how far you are behind. A cursor that is no longer good
    gets 410 with `start`, where to go on: nothing is ever skipped without saying so.
    """
    if request.method == "HEAD":
        return _lag(query)
    found, wanted, state = _first_page(query)
    until = time.monotonic() + query.wait
    while not (found.positions or found.has_more) and (left := until - time.monotonic()) > 0:
        if not current_resources().feed_watch.wait(found.until, left, reader=g.bearer.id):
            break
        found, state = _page(query, wanted, Cursor(state.epoch, found.until))
    return _answer(query, found, state)


@api.get("/messages/<string:message_id>", tags=[MESSAGES], responses={200: AnyNotification})
@reads("messages")
def show_message(path: MessagePath, query: MessageQuery) -> Response:
    """Show one notification as the feed has it, however large it is."""
    body = build(_find(path.message_id), links=_links(), include=query.include, max_bytes=None)
    return Response(body, content_type="application/json")


@api.get("/messages/<string:message_id>/text", tags=[MESSAGES], responses={200: text_response("text/plain")})
@reads("messages")
def show_text(path: MessagePath) -> Response:
    """Get the text of a message."""
    return _part(path.message_id, "text", "text/plain; charset=utf-8")


@api.get("/messages/<string:message_id>/html", tags=[MESSAGES], responses={200: text_response("text/html")})
@reads("messages")
def show_html(path: MessagePath) -> Response:
    """Get the HTML of a message as its sender wrote it: clean it before you show it to anybody."""
    response = _part(path.message_id, "html", "text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    response.headers["Content-Disposition"] = "attachment"
    return response


@api.get("/events/<int:number>/message", tags=[MESSAGES], responses={200: AnyNotification})
@reads("messages")
def show_message_of_event(path: NumberPath, query: MessageQuery) -> Response:
    """Show the notification about an event's message, by our number of the event, as an endpoint gets it."""
    run(number_and_look)
    with reading() as conn:
        position = feed.position_of_event(conn, path.number, tenant_id=bound_tenant())
        found = [] if position is None else facts.load(conn, [position])
    if not found:
        raise UnknownMessage(f"event {path.number} has no message that is ready")
    return Response(build(found[0], links=_links(), include=query.include), content_type="application/json")


def _first_page(query: FeedQuery) -> tuple[NotificationRange, FeedFilter, FeedState]:
    run(number_and_look)
    with reading() as conn:
        wanted = _filter(conn, query)
    found, state = _page(query, wanted, _cursor(query.after))
    return found, wanted, state


def _page(query: FeedQuery, wanted: FeedFilter, cursor: Cursor | None) -> tuple[NotificationRange, FeedState]:
    """Return a page of the feed and its state. Raises FeedReset and CursorTooOld."""
    with reading() as conn:
        return feed.page_after(conn, wanted, cursor, limit=query.limit, from_latest=query.after == LATEST)


def _cursor(after: str | None) -> Cursor | None:
    """Return the cursor of a request; None for the ends of the feed. Raises Invalid."""
    if after is None or after == LATEST:
        return None
    cursor = Cursor.parse(after)
    if cursor is None:
        fault = Fault(code="bad_cursor", detail="no cursor of the feed; send `next` as you got it", parameter="after")
        raise Invalid("the feed cannot be continued there", faults=[fault])
    return cursor


def _filter(conn: Connection, query: FeedQuery) -> FeedFilter:
    """Return what the reader wants to see, and may. Raises BadFilter."""
    types = None if query.type is None else [each.strip() for each in query.type.split(",")]
    if unknown := set(types or ()) - set(TYPES):
        raise BadFilter(f"{min(unknown)[:40]!r} is no type; the types are {', '.join(TYPES)}")
    tenant_id = bound_tenant()
    if query.tenant is not None:
        found = tenants.find(conn, query.tenant)
        if found is None or not current_actor().sees(found.id):
            raise BadFilter(f"there is no tenant {query.tenant!r}")
        tenant_id = found.id
    return FeedFilter(tenant_id=tenant_id, user=query.user, types=types)


def _lag(query: FeedQuery) -> Response:
    with reading() as conn:
        wanted = _filter(conn, query)
        state = feed.state(conn)
        cursor = _cursor(query.after)
        after = state.oldest.position if cursor is None else state.position_after(cursor)
        lag = feed.lag(conn, wanted, after=after)
    headers = {
        "Mailroom-Unread": str(lag.unread),
        "Mailroom-Lag-Seconds": f"{lag.seconds:.0f}",
        "Mailroom-Latest": str(state.latest),
    }
    return Response(headers=headers, content_type="application/json")


def _answer(query: FeedQuery, found: NotificationRange, state: FeedState) -> Response:
    bodies, size, until, has_more = list[orjson.Fragment](), 0, found.until, found.has_more
    for notification in _notifications(found.positions):
        body = build(notification, links=_links(), include=query.include)
        bodies.append(orjson.Fragment(body))
        size += len(body)
        if size > PAGE_BYTES and notification.cursor.position != found.positions[-1]:
            until, has_more = notification.cursor.position, True
            break
    document = {"messages": bodies, "next": str(Cursor(state.epoch, until)), "has_more": has_more}
    return Response(orjson.dumps(document), content_type="application/json")


def _notifications(positions: Sequence[int]) -> Iterator[NotificationFacts]:
    for begin in range(0, len(positions), READ_AT_ONCE):
        with reading() as conn:
            read = facts.load(conn, positions[begin : begin + READ_AT_ONCE])
        yield from read


def _find(message_id: str) -> NotificationFacts:
    """Return the notification. Raises UnknownMessage."""
    with reading() as conn:
        position = feed.position_of(conn, UUID(message_id.removeprefix("msg_")), tenant_id=bound_tenant())
        found = [] if position is None else facts.load(conn, [position])
    if not found:
        raise UnknownMessage(f"there is no message {message_id}")
    return found[0]


def _part(message_id: str, part: str, content_type: str) -> Response:
    event = _find(message_id).event
    found = None if event is None else getattr(content_of(event), part)
    if found is None:
        raise PartMissing(f"message {message_id} has no {part}")
    return Response(found, content_type=content_type)


def _links() -> Links:
    return links_at(current_resources().settings, time.time())
