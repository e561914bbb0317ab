"""The result of one check of `mailroom doctor`, with how to mend it."""

from __future__ import annotations

from dataclasses import dataclass

#: The name of each finding about a tenant at Front's rate limit begins so.
LIMIT = "limit"
#: The name of each finding about an endpoint that is held begins so.
HELD = "endpoint held:"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The result of one check; `fix` says what to do where it is not ok."""

    name: str
    ok: bool
    found: str
    fix: str = ""

    @property
    def check(self) -> str:
        """The name without that of a tenant: one of a few."""
        if self.name.startswith(HELD):
            return HELD.rstrip(":")
        return LIMIT if self.name.startswith(f"{LIMIT} of ") else self.name
