"""Decisions about a group of tasks that failed in the same way."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.db.core.pool import Connection


@dataclass(frozen=True, kw_only=True)
class Decision:
    """A new state of a group, who decided it, and why. `ignored_for`: how long it stays ignored; for ever without."""

    state: str
    who: str
    note: str = ""
    ignored_for: timedelta | None = None


def decide(conn: Connection, group_id: int, decision: Decision) -> None:
    """Write a decision about a group."""
    conn.execute(
        """
        UPDATE failure_groups SET state = %(state)s, state_by = %(who)s, state_at = now(), note = %(note)s,
            ignored_until = CASE WHEN %(state)s = 'ignored' THEN now() + coalesce(%(ignored_for)s, interval '100 years')
                            END
        WHERE id = %(group)s
        """,
        {**vars(decision), "group": group_id},
    )
