"""What came of undos."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from psycopg.sql import SQL

if TYPE_CHECKING:
    from shared.db.pool import Connection

_OPEN = SQL("('ready', 'queued', 'running')")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of undos so far, by conversation or tag; `stopped`: actions that were not applied any more.

    `skipped` and `failed` by cause; `open`: not known yet.
    """

    undone: int
    stopped: int
    open: int
    skipped: dict[str, int]
    failed: dict[str, int]


def standing_since(conn: Connection, tenant_id: int) -> datetime:
    """When the oldest undo was asked for that is still under way; now where there is none."""
    query = SQL("""
        SELECT coalesce(min(created_at), now()) FROM tasks
        WHERE tenant_id = %s AND kind = 'undo_action' AND state IN {}
    """).format(_OPEN)
    row = conn.execute(query, (tenant_id,)).fetchone()
    assert row is not None  # noqa: S101 -- an aggregate gives one row
    return row[0]  # type: ignore[no-any-return]


_COUNTS = SQL("""
WITH undos AS (
    SELECT t.state, t.code, (SELECT split_part(detail, ':', 1) FROM journal j
                             WHERE j.event_id = t.event_id AND j.what = 'undo skipped' ORDER BY id DESC LIMIT 1) AS why
    FROM tasks t WHERE t.tenant_id = %(tenant)s AND t.kind = 'undo_action' AND t.created_at >= %(since)s
), waiting AS (
    SELECT state, intent_at FROM actions WHERE tenant_id = %(tenant)s AND undo_asked_at >= %(since)s
)
SELECT CASE WHEN state IN {open} THEN 'open' WHEN state = 'done' THEN 'undone' ELSE state END,
       CASE state WHEN 'skipped' THEN why WHEN 'failed' THEN code END, count(*)
FROM undos WHERE state <> 'superseded' GROUP BY 1, 2
UNION ALL
SELECT CASE state WHEN 'planned' THEN 'open' ELSE 'stopped' END, NULL, count(*)
FROM waiting WHERE state IN ('planned', 'superseded') OR state = 'failed' AND intent_at IS NULL GROUP BY 1
""").format(open=_OPEN)


def outcome(conn: Connection, tenant_id: int, since: datetime) -> Outcome:
    """How far the undos are that were asked for since then."""
    rows = conn.execute(_COUNTS, {"tenant": tenant_id, "since": since}).fetchall()

    def of(state: str) -> dict[str, int]:
        return {cause or "": count for each, cause, count in rows if each == state}

    def number(state: str) -> int:
        return sum(count for each, _, count in rows if each == state)

    return Outcome(
        undone=number("undone"),
        stopped=number("stopped"),
        open=number("open"),
        skipped=of("skipped"),
        failed=of("failed"),
    )
