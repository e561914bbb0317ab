"""Turns what was asked for into the conditions of a query."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Mapping

# Parked is not stored: it follows from what stands against the tenant.
SHOWN_TASK_STATE = (
    "CASE WHEN k.state IN ('ready', 'queued') AND t.parked_cause IS NOT NULL THEN 'parked' ELSE k.state END"
)


@dataclass(frozen=True, kw_only=True)
class Filter:
    """What a list is narrowed to; None does not narrow."""

    tenant_id: int | None = None
    state: str | None = None
    code: str | None = None
    kind: str | None = None
    since: datetime | None = None
    ids: tuple[int, ...] | None = None

    @property
    def is_open(self) -> bool:
        """Whether nothing narrows the list."""
        return self == Filter()

    def values(self) -> dict[str, Any]:
        """The values that conditions name."""
        return {
            "tenant_id": self.tenant_id,
            "state": self.state,
            "code": self.code,
            "kind": self.kind,
            "since": self.since,
            "ids": None if self.ids is None else list(self.ids),
        }


def where(wanted: Filter, conditions: Mapping[str, str]) -> sql.SQL:
    """A WHERE clause of the conditions whose field is set in `wanted`."""
    given = [text for name, text in conditions.items() if wanted.values()[name] is not None]
    return sql.SQL("WHERE " + " AND ".join(given) if given else "")
