"""Webhooks on demand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.http_messages import Answer, json_answer
from sandbox.orders import BadOrder, read_order

if TYPE_CHECKING:
    from sandbox.front import Front
    from sandbox.incoming import Request


def send(front: Front, request: Request, _: str) -> Answer:
    """Carry an order out."""
    order = read_order(request.json())
    if order.company not in front.world.companies:
        raise BadOrder(f"no such company: {order.company}; found it first")
    if order.inbox and order.inbox not in {inbox.id for inbox in front.world.companies[order.company].inboxes}:
        raise BadOrder(f"no such inbox: {order.inbox}")
    return json_answer(front.jobs.start(order))


def job(front: Front, _request: Request, job_id: str) -> Answer:
    """How far an order is."""
    report = front.jobs.report(job_id)
    return json_answer(report or {"error": "no such job"}, 200 if report else 404)


def challenge(front: Front, request: Request, _: str) -> Answer:
    """Ask the door to prove itself."""
    body = request.json()
    company = body.get("company") if isinstance(body, dict) else None
    return json_answer(front.sender.challenge(company or "cmp_sandbox"))
