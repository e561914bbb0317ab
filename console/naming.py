"""What a tenant may be called, and what Front's company ids look like."""

from __future__ import annotations

import re

from shared.db.tenants import LONGEST_NAME

COMPANY = re.compile(r"cmp_[A-Za-z0-9]{1,60}")


def is_name(value: str) -> bool:
    """Whether it does for a tenant's name or a customer's id: something printable of bounded length."""
    return bool(value.strip()) and value.isprintable() and len(value) <= LONGEST_NAME
