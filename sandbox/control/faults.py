"""Putting faults in force and out of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.faults import read_rule
from sandbox.http_messages import Response, json_response

if TYPE_CHECKING:
    from sandbox.front import Front
    from sandbox.http_messages import Request


def listing(front: Front, _request: Request, _: str) -> Response:
    """The rules in force and how often each was used."""
    return json_response({"faults": front.faults.listing()})


def add(front: Front, request: Request, _: str) -> Response:
    """One more rule; it comes after those already in force."""
    number = front.faults.add(read_rule(request.json()))
    return json_response({"id": number}, 201)


def remove(front: Front, _request: Request, number: str) -> Response:
    """One rule less."""
    removed = number.isdigit() and front.faults.remove(int(number))
    return json_response({"removed": int(bool(removed))}, 200 if removed else 404)


def clear(front: Front, _request: Request, _: str) -> Response:
    """No rules."""
    front.faults.clear()
    return json_response({"faults": []})
