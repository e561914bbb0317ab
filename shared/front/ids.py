"""What Front's ids look like: the only words that may enter a path of a request, or become a tenant's company."""

from __future__ import annotations

import re

from shared.errors import FrontRejected

_FRONT_ID = re.compile(r"[a-z]+_[A-Za-z0-9]{1,64}")
COMPANY = re.compile(r"cmp_[A-Za-z0-9]{1,60}")


def front_id(value: str) -> str:
    """The id itself. Raises FrontRejected for anything else, aliases (`alt:email:…`) included."""
    if not _FRONT_ID.fullmatch(value):
        raise FrontRejected("the id is none of Front's (letters, an underscore, letters and digits); nothing was asked")
    return value
