"""`/me` and the lists of what a company consists of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.api.paging import page, whole
from sandbox.http_messages import Response, json_response

if TYPE_CHECKING:
    from sandbox.api.call import Call


def me(call: Call) -> Response:
    """The company a token belongs to."""
    return json_response(call.serializer.identity())


def teammates(call: Call) -> Response:
    """Everybody, bots and blocked people included; not paged."""
    results = [call.serializer.teammate(teammate) for teammate in call.company.teammates]
    return json_response(whole(call.front.base, call.request, results))


def inboxes(call: Call) -> Response:
    """All inboxes, private ones included; not paged."""
    results = [call.serializer.inbox(inbox) for inbox in call.company.inboxes]
    return json_response(whole(call.front.base, call.request, results))


def channels(call: Call) -> Response:
    """One channel for each inbox; not paged."""
    results = [call.serializer.channel(inbox) for inbox in call.company.inboxes]
    return json_response(whole(call.front.base, call.request, results))


def tags(call: Call) -> Response:
    """All tags, private ones included."""
    listing = page(call.front.base, call.request, call.company.tags, mark=lambda tag: tag.id, body=call.serializer.tag)
    return json_response(listing)
