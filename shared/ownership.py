"""Whose a delivery's body is, also where it cannot be read: pure."""

from __future__ import annotations

import re
from typing import Final

from shared.errors import MalformedEnvelope
from shared.front.envelope import parse_envelope

_CLAIM: Final = re.compile(rb'"authorization"\s*:\s*\{[^{}]*?"id"\s*:\s*"([A-Za-z0-9_:.-]{1,100})"')


def company_of(body: bytes) -> str | None:
    """The company that sent it; None where it does not say."""
    try:
        return parse_envelope(body).company_id
    except MalformedEnvelope:
        return claimed_company(body)


def claimed_company(body: bytes) -> str | None:
    """The company that a body names as its own in the way of Front, whatever else is wrong with it."""
    found = _CLAIM.search(body)
    return found[1].decode() if found else None
