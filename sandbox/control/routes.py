"""The routes of the control API, and the handlers of webhooks, faults and figures."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sandbox.control import companies, conversations
from sandbox.faults import REFRESH_KINDS, read_rule
from sandbox.http_messages import BadRequest, Response, json_response
from sandbox.send_request import read_send_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.front import Front
    from sandbox.http_messages import Request


def send_webhooks(front: Front, request: Request, _: str) -> Response:
    """Start a job that lets events happen and sends their webhooks."""
    send_request = read_send_request(request.json())
    company = front.world.companies.get(send_request.company)
    if company is None:
        raise BadRequest(f"no such company: {send_request.company}; create it first")
    if send_request.inbox and send_request.inbox not in {inbox.id for inbox in company.inboxes}:
        raise BadRequest(f"no such inbox: {send_request.inbox}")
    if send_request.fault in REFRESH_KINDS:
        front.refuse_refreshes(company.id, send_request.fault)
    return json_response(front.jobs.start(send_request))


def report_job(front: Front, _request: Request, job_id: str) -> Response:
    """Progress of a job, and the outcome of its events so far."""
    report = front.jobs.report(job_id)
    return json_response(report or {"error": "no such job"}, 200 if report else 404)


def challenge(front: Front, request: Request, _: str) -> Response:
    """Send the challenge for a new webhook to the door."""
    body = request.json()
    company = body.get("company") if isinstance(body, dict) else None
    return json_response(front.sender.challenge(company or "cmp_sandbox"))


def list_faults(front: Front, _request: Request, _: str) -> Response:
    """The active rules, each with the number of its faults so far."""
    return json_response({"faults": front.faults.listing()})


def add_fault(front: Front, request: Request, _: str) -> Response:
    """Add a rule after those already active."""
    number = front.faults.add(read_rule(request.json()))
    return json_response({"id": number}, 201)


def remove_fault(front: Front, _request: Request, number: str) -> Response:
    """Remove one rule."""
    removed = number.isdigit() and front.faults.remove(int(number))
    return json_response({"removed": int(bool(removed))}, 200 if removed else 404)


def clear_faults(front: Front, _request: Request, _: str) -> Response:
    """Remove all rules."""
    front.faults.clear()
    return json_response({"faults": []})


def show_totals(front: Front, _request: Request, _: str) -> Response:
    """All counts of the ledger."""
    return json_response(front.ledger.totals())


def list_calls(front: Front, request: Request, _: str) -> Response:
    """The API calls that match `since`, `company` and `conversation`."""
    try:
        since = float(request.first("since") or 0)
    except ValueError as exc:
        raise BadRequest("since is a time in seconds") from exc
    calls = front.ledger.calls(
        since=since, company=request.first("company"), conversation=request.first("conversation")
    )
    return json_response({"calls": calls})


def show_verdict(front: Front, request: Request, _: str) -> Response:
    """The verdict so far. `named` is the maximum number of events listed by id, by default 20."""
    try:
        return json_response(front.verdict(int(request.first("named") or 20)))
    except ValueError as exc:
        raise BadRequest("named is a number") from exc


def reset(front: Front, _request: Request, _: str) -> Response:
    """Forget everything."""
    front.reset()
    return json_response({"reset": True})


ROUTES: tuple[tuple[str, str, Callable[[Front, Request, str], Response]], ...] = (
    ("POST", "/sandbox/companies", companies.create_company),
    ("GET", "/sandbox/companies", companies.list_companies),
    ("POST", "/sandbox/companies/{id}/tokens", companies.change_tokens),
    ("POST", "/sandbox/companies/{id}/teammates", companies.change_teammates),
    ("POST", "/sandbox/companies/{id}/inboxes", companies.create_inbox),
    ("POST", "/sandbox/send", send_webhooks),
    ("GET", "/sandbox/jobs/{id}", report_job),
    ("POST", "/sandbox/challenge", challenge),
    ("GET", "/sandbox/faults", list_faults),
    ("POST", "/sandbox/faults", add_fault),
    ("DELETE", "/sandbox/faults", clear_faults),
    ("DELETE", "/sandbox/faults/{id}", remove_fault),
    ("GET", "/sandbox/conversations/{id}", conversations.inspect_conversation),
    ("POST", "/sandbox/conversations/{id}/act", conversations.act_on_conversation),
    ("POST", "/sandbox/conversations/{id}/recall", conversations.recall_conversation),
    ("GET", "/sandbox/files/{id}", conversations.inspect_file),
    ("GET", "/sandbox/ledger", show_totals),
    ("GET", "/sandbox/ledger/calls", list_calls),
    ("GET", "/sandbox/verdict", show_verdict),
    ("POST", "/sandbox/reset", reset),
)
PATTERNS = [(method, re.compile(route.replace("{id}", r"([^/]+)")), handler) for method, route, handler in ROUTES]


def handle_control_request(front: Front, request: Request) -> Response:
    """Run the handler of a route, or respond with 404 and a list of all routes.

    Refuse what a page of another site could send through a browser: a foreign Host or Origin, or a body that is
    not JSON.
    """
    if reason := _foreign(front, request):
        return json_response({"error": reason}, 403)
    if request.body and _media_type(request) != "application/json":
        return json_response({"error": "the content type of a body is application/json"}, 415)
    for method, pattern, handler in PATTERNS:
        if method == request.method and (match := pattern.fullmatch(request.path)):
            return handler(front, request, match[1] if pattern.groups else "")
    routes = [f"{method} {route}" for method, route, _ in ROUTES]
    return json_response({"error": "no such route", "routes": routes}, 404)


def _foreign(front: Front, request: Request) -> str | None:
    """Return the reason to refuse a request of another site, or None."""
    own = urlsplit(front.base)
    if not _names_this_machine(front, f"//{request.host}"):
        return "Host is no name of this machine"
    origin = request.headers.get("origin", front.base)
    is_own = _names_this_machine(front, origin) and urlsplit(origin).scheme == own.scheme
    return None if is_own and urlsplit(origin).port == own.port else "Origin is not this sandbox"


def _names_this_machine(front: Front, url: str) -> bool:
    try:
        name, _ = urlsplit(url).hostname, urlsplit(url).port
        return name in {"localhost", front.settings.host} or ip_address(name or "").is_loopback
    except ValueError:
        return False


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()
