"""What each fault does to a call: in place of the work, or to the response after it."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING

from sandbox.http_messages import Response, error_response

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.faults import FaultRule
    from sandbox.front import Front
    from sandbox.http_messages import Request
    from sandbox.rate_limits import Standing

BURST_MESSAGE = "Rate limit exceeded for tier-2 route. Please retry in {} milliseconds."


def over_limit(standing: Standing, *, tell_when: bool = True) -> Response:
    """Front's 429. A burst says in milliseconds what `retry-after` rounds up to seconds."""
    seconds = standing.retry_after or 0.0
    message = BURST_MESSAGE.format(math.ceil(seconds * 1000)) if standing.is_burst else "Rate limit exceeded"
    named = standing.headers()
    if tell_when:
        named["retry-after"] = str(max(1, math.ceil(seconds)))
    return error_response(429, message, headers=named)


def _too_many(standing: Standing, rule: FaultRule, now: float) -> Response:
    seconds = rule.lasting(AWAY_SECONDS)
    refused = replace(
        standing,
        remaining=standing.remaining if rule.kind == "429_burst" else 0,
        reset=now + seconds,
        retry_after=seconds,
        is_burst=rule.kind == "429_burst",
    )
    response = over_limit(refused, tell_when=rule.kind != "429_no_retry_after")
    if rule.retry_after is None:
        return response
    return replace(response, headers={**response.headers, "retry-after": rule.retry_after})


def _offsite(front: Front, request: Request) -> Response:
    return Response(status=302, headers={"Location": front.elsewhere + request.target})


ERRORS = {
    "500": (500, "Something went wrong"),
    "503": (503, "Please come back later"),
    "401": (401, "Invalid token"),
    "403": (403, "Missing scope"),
    "404_heals": (404, "Unknown resource"),
}
AWAY_SECONDS = 1.0
SILENT_SECONDS = 30.0
SLOW_SECONDS = 10.0


def instead(front: Front, request: Request, rule: FaultRule, standing: Standing) -> Response | None:
    """The response in place of the work; None if the work is to be done first."""
    if rule.kind.startswith("429"):
        return _too_many(standing, rule, front.now())
    if rule.kind in ERRORS:
        return error_response(*ERRORS[rule.kind], headers=standing.headers())
    if rule.kind == "redirect_offsite":
        return _offsite(front, request)
    return SHORT[rule.kind](rule) if rule.kind in SHORT else None


def afterwards(response: Response, rule: FaultRule) -> Response:
    """The response to work that was done, spoilt on its way."""
    return AFTER[rule.kind](response, rule) if rule.kind in AFTER else response


def _without_fields(response: Response, _: FaultRule) -> Response:
    if response.status != 200 or not isinstance(response.body, bytes):
        return response
    message = json.loads(response.body)
    for name in ("recipients", "attachments"):
        message.pop(name, None)
    return replace(response, body=json.dumps(message).encode())


SHORT: dict[str, Callable[[FaultRule], Response]] = {
    "reset_before": lambda _: Response(status=0, wire_fault="reset"),
    "timeout": lambda rule: Response(status=0, wire_fault="silent", seconds=rule.lasting(SILENT_SECONDS)),
    "ignored": lambda _: Response(status=204),
}
AFTER: dict[str, Callable[[Response, FaultRule], Response]] = {
    "reset_after": lambda response, _: replace(response, wire_fault="reset"),
    "cut_body": lambda response, _: replace(response, wire_fault="cut"),
    "slow_body": lambda response, rule: replace(response, wire_fault="slow", seconds=rule.lasting(SLOW_SECONDS)),
    "oversized_body": lambda response, rule: replace(response, wire_fault="oversized", extra_bytes=rule.bytes),
    "missing_message_fields": _without_fields,
}
