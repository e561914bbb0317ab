"""Webhooks on demand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.http_messages import BadRequest, Response, json_response
from sandbox.send_request import read_send_request

if TYPE_CHECKING:
    from sandbox.front import Front
    from sandbox.http_messages import Request


def send(front: Front, request: Request, _: str) -> Response:
    """Carry an order out."""
    order = read_send_request(request.json())
    if order.company not in front.world.companies:
        raise BadRequest(f"no such company: {order.company}; found it first")
    if order.inbox and order.inbox not in {inbox.id for inbox in front.world.companies[order.company].inboxes}:
        raise BadRequest(f"no such inbox: {order.inbox}")
    return json_response(front.jobs.start(order))


def job(front: Front, _request: Request, job_id: str) -> Response:
    """How far an order is."""
    report = front.jobs.report(job_id)
    return json_response(report or {"error": "no such job"}, 200 if report else 404)


def challenge(front: Front, request: Request, _: str) -> Response:
    """Ask the door to prove itself."""
    body = request.json()
    company = body.get("company") if isinstance(body, dict) else None
    return json_response(front.sender.challenge(company or "cmp_sandbox"))
