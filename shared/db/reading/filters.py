"""Turns a filter that a person chose into the conditions of a query."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Mapping

#: No row stores that a task is parked: its tenant's cause parks it.
SHOWN_TASK_STATE = (
    "CASE WHEN k.state IN ('ready', 'queued') AND t.parked_cause IS NOT NULL THEN 'parked' ELSE k.state END"
)


@dataclass(frozen=True, kw_only=True)
class Filter:
    """The conditions of a list, all of which must hold; None is no condition.

    `before_id`: only rows with a smaller number, to go on after a page of a list whose newest row comes first.
    """

    tenant_id: int | None = None
    state: str | None = None
    code: str | None = None
    kind: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    conversation_id: str | None = None
    type: str | None = None
    group: int | None = None
    before_id: int | None = None
    ids: tuple[int, ...] | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is no condition at all."""
        return self == Filter()

    def values(self) -> dict[str, Any]:
        """Return the parameters of the query."""
        return {**vars(self), "ids": None if self.ids is None else list(self.ids)}


def where(wanted: Filter, conditions: Mapping[str, str]) -> sql.SQL:
    """Return a WHERE clause of those `conditions` whose field is set in the filter."""
    given = [text for name, text in conditions.items() if wanted.values()[name] is not None]
    return sql.SQL("WHERE " + " AND ".join(given) if given else "")
