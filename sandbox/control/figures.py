"""The figures: ledger and verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.http_messages import BadRequest, Response, json_response

if TYPE_CHECKING:
    from sandbox.front import Front
    from sandbox.http_messages import Request


def ledger(front: Front, _request: Request, _: str) -> Response:
    """All totals."""
    return json_response(front.ledger.totals())


def calls(front: Front, request: Request, _: str) -> Response:
    """The calls that fit `since`, `company` and `conversation`."""
    try:
        since = float(request.first("since") or 0)
    except ValueError as exc:
        raise BadRequest("since is a time in seconds") from exc
    found = front.ledger.calls(
        since=since, company=request.first("company"), conversation=request.first("conversation")
    )
    return json_response({"calls": found})


def verdict(front: Front, request: Request, _: str) -> Response:
    """Was anything lost, done twice, or done unasked? `named`: how many events are named, 20 unless given."""
    try:
        return json_response(front.verdict(int(request.first("named") or 20)))
    except ValueError as exc:
        raise BadRequest("named is a number") from exc


def reset(front: Front, _request: Request, _: str) -> Response:
    """Begin anew."""
    front.reset()
    return json_response({"reset": True})
