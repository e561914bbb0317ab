"""How the doors are loaded."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Case:
    """`per_second` 0: closed load. `with_limits`: servers that keep nothing are measured, too."""

    body_bytes: int = 2_400
    connections: int = 32
    appendfsync: str = "always"
    per_second: int = 0
    with_limits: bool = False

    @property
    def name(self) -> str:
        """Says all of it."""
        load = f"open_{self.per_second}_a_second" if self.per_second else "closed"
        return f"{load}_{self.body_bytes}_bytes_{self.connections}_connections_{self.appendfsync}"


#: The one that promises are about.
HEADLINE = Case(with_limits=True)
QUICK = (HEADLINE,)
FULL = (
    HEADLINE,
    Case(connections=1),
    Case(connections=256),
    Case(body_bytes=60_000),
    Case(per_second=300),
    Case(appendfsync="everysec"),
)
