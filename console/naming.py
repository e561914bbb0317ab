"""What a tenant may be called."""

from __future__ import annotations

from shared.db.tenants import LONGEST_NAME


def is_name(value: str) -> bool:
    """Whether it does for a tenant's name or a customer's id: something printable of bounded length."""
    return bool(value.strip()) and value.isprintable() and len(value) <= LONGEST_NAME
