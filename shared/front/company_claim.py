"""Finds the company that a webhook says it is of, without reading the rest of its body. Pure."""

from __future__ import annotations

import re
from typing import Final

_COMPANY_CLAIM: Final = re.compile(rb'"authorization"\s*:\s*\{[^{}]*?"id"\s*:\s*"([A-Za-z0-9_:.-]{1,100})"')


def claimed_company(body: bytes) -> str | None:
    """Return the company in `authorization.id`, whatever else is wrong with the body."""
    found = _COMPANY_CLAIM.search(body)
    return found[1].decode() if found else None
