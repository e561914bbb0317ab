"""The audit: who asked for which change or look, and whether it was allowed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

if TYPE_CHECKING:
    from shared.db.core.pool import Connection

Via = Literal["page", "api", "cli"]


@dataclass(frozen=True, kw_only=True)
class NewAuditEntry:
    """A change or a look that was asked for. `before` and `after` hold what differs, by name.

    `address`: the IP address from which it was asked for; None for a command.
    """

    who: str
    via: Via
    verb: str
    target: str
    allowed: bool
    tenant_id: int | None = None
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None
    detail: str = ""
    address: str | None = None


@dataclass(frozen=True, kw_only=True)
class AuditEntry(NewAuditEntry):
    """An entry as people see it."""

    id: int
    at: datetime
    tenant: str | None


def write(conn: Connection, entry: NewAuditEntry) -> None:
    """Add an entry."""
    conn.execute(
        """
        INSERT INTO audit (who, via, verb, tenant_id, target, allowed, before, after, detail, address)
        VALUES (%(who)s, %(via)s, %(verb)s, (SELECT id FROM tenants WHERE id = %(tenant_id)s), %(target)s,
                %(allowed)s, %(before)s, %(after)s, %(detail)s, %(address)s)
        """,
        {
            **vars(entry),
            "before": None if entry.before is None else Jsonb(entry.before),
            "after": None if entry.after is None else Jsonb(entry.after),
        },
    )


@dataclass(frozen=True, kw_only=True)
class AuditFilter:
    """The conditions of a list of entries; None is no condition. `before_id` goes on after a page."""

    who: str | None = None
    verb: str | None = None
    tenant_id: int | None = None
    allowed: bool | None = None
    before_id: int | None = None


def latest(conn: Connection, wanted: AuditFilter, *, limit: int) -> list[AuditEntry]:
    """Return the latest entries that match, latest first."""
    with conn.cursor(row_factory=class_row(AuditEntry)) as cursor:
        return cursor.execute(
            """
            SELECT a.*, t.name AS tenant FROM audit a LEFT JOIN tenants t ON t.id = a.tenant_id
            WHERE (%(before_id)s::bigint IS NULL OR a.id < %(before_id)s)
              AND (%(who)s::text IS NULL OR a.who = %(who)s) AND (%(verb)s::text IS NULL OR a.verb = %(verb)s)
              AND (%(tenant_id)s::bigint IS NULL OR a.tenant_id = %(tenant_id)s)
              AND (%(allowed)s::boolean IS NULL OR a.allowed = %(allowed)s)
            ORDER BY a.id DESC LIMIT %(limit)s
            """,
            {**vars(wanted), "limit": limit},
        ).fetchall()
