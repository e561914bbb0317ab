"""The figures: ledger and verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.http_messages import Answer, json_answer
from sandbox.orders import BadOrder

if TYPE_CHECKING:
    from sandbox.front import Front
    from sandbox.incoming import Request


def ledger(front: Front, _request: Request, _: str) -> Answer:
    """All totals."""
    return json_answer(front.ledger.totals())


def calls(front: Front, request: Request, _: str) -> Answer:
    """The calls that fit `since`, `company` and `conversation`."""
    try:
        since = float(request.first("since") or 0)
    except ValueError as exc:
        raise BadOrder("since is a time in seconds") from exc
    found = front.ledger.calls(
        since=since, company=request.first("company"), conversation=request.first("conversation")
    )
    return json_answer({"calls": found})


def verdict(front: Front, request: Request, _: str) -> Answer:
    """Was anything lost, done twice, or done unasked? `named`: how many events are named, 20 unless given."""
    try:
        return json_answer(front.verdict(int(request.first("named") or 20)))
    except ValueError as exc:
        raise BadOrder("named is a number") from exc


def reset(front: Front, _request: Request, _: str) -> Answer:
    """Begin anew."""
    front.reset()
    return json_answer({"reset": True})
