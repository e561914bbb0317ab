"""The routes under `/sandbox`, for tests and demos on this machine only."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sandbox.control import companies, conversations, faults, figures, furnishing, sending
from sandbox.http_messages import Response, json_response

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.front import Front
    from sandbox.http_messages import Request

ROUTES: tuple[tuple[str, str, Callable[[Front, Request, str], Response]], ...] = (
    ("POST", "/sandbox/companies", companies.found),
    ("GET", "/sandbox/companies", companies.listing),
    ("POST", "/sandbox/companies/{id}/tokens", companies.change_tokens),
    ("POST", "/sandbox/companies/{id}/teammates", furnishing.teammates),
    ("POST", "/sandbox/companies/{id}/inboxes", furnishing.inboxes),
    ("POST", "/sandbox/send", sending.send),
    ("GET", "/sandbox/jobs/{id}", sending.job),
    ("POST", "/sandbox/challenge", sending.challenge),
    ("GET", "/sandbox/faults", faults.listing),
    ("POST", "/sandbox/faults", faults.add),
    ("DELETE", "/sandbox/faults", faults.clear),
    ("DELETE", "/sandbox/faults/{id}", faults.remove),
    ("GET", "/sandbox/conversations/{id}", conversations.show),
    ("POST", "/sandbox/conversations/{id}/act", conversations.act),
    ("POST", "/sandbox/conversations/{id}/recall", conversations.recall),
    ("GET", "/sandbox/files/{id}", conversations.file),
    ("GET", "/sandbox/ledger", figures.ledger),
    ("GET", "/sandbox/ledger/calls", figures.calls),
    ("GET", "/sandbox/verdict", figures.verdict),
    ("POST", "/sandbox/reset", figures.reset),
)
PATTERNS = [(method, re.compile(route.replace("{id}", r"([^/]+)")), work) for method, route, work in ROUTES]


def attend(front: Front, request: Request) -> Response:
    """Do what is asked; a mistake in the words is a 400 that says which."""
    for method, pattern, work in PATTERNS:
        if method == request.method and (match := pattern.fullmatch(request.path)):
            return work(front, request, match[1] if pattern.groups else "")
    routes = [f"{method} {route}" for method, route, _ in ROUTES]
    return json_response({"error": "no such route", "routes": routes}, 404)
