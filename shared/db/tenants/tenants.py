"""Tenants: their names and companies, their policies, the causes that park their work, and the journal of changes."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from psycopg import sql
from psycopg.rows import class_row

from shared.errors import MailroomError
from shared.models import Quota
from shared.text import clean, without_joiners

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.db.core.pool import Connection


LONGEST_NAME = 200
LONGEST_ACTOR = 300
#: A pause belongs to one of them: to all who are not bound to the tenant, or to the tenant's own API tokens.
Pauser = Literal["operator", "tenant"]

OVERVIEW = """
    SELECT t.id, t.name, t.company_id, t.customer, t.connected_at,
        c.kind AS connection, c.version AS connection_version,
        (SELECT count(*) FROM users u WHERE u.tenant_id = t.id) AS users,
        (SELECT count(*) FROM users u WHERE u.tenant_id = t.id AND u.action IS NOT NULL) AS users_with_action,
        t.action, t.only_when_matched, t.wait_for, t.fold_plus, t.act_within, t.only_inboxes, t.dry_run, t.act_after,
        t.max_stored_bytes, t.max_events_a_day, t.stored_bytes, t.files_held, t.files_held_at, t.parked_cause,
        t.parked_at, c.refused_since,
        CASE WHEN t.parked_cause = 'paused' THEN coalesce(t.paused_by, 'operator') END AS paused_by
    FROM tenants t LEFT JOIN connections c ON c.tenant_id = t.id
"""
PAGE = """
    WHERE t.id > %(after)s AND (%(only)s::bigint IS NULL OR t.id = %(only)s)
        AND (%(customer)s::text IS NULL OR t.customer = %(customer)s)
    ORDER BY t.id LIMIT %(limit)s
"""


class TenantTaken(MailroomError):
    """A tenant has the name or the company already."""

    code = "tenant_taken"


@dataclass(frozen=True, kw_only=True)
class TenantOverview:
    """A tenant as people see it; `connection` is the kind of its grant, or None.

    `refused_since`: since when Front refuses to refresh the grant without a clear reason. `paused_by`: who paused it,
    None while it is not paused. `files_held`: the quota that is used up, for which its files wait.
    """

    id: int
    name: str
    company_id: str | None
    customer: str | None
    connected_at: datetime | None
    connection: str | None
    connection_version: int | None
    users: int
    users_with_action: int
    action: str
    only_when_matched: bool
    wait_for: str
    fold_plus: bool
    act_within: timedelta
    only_inboxes: list[str] | None
    dry_run: bool
    act_after: str
    max_stored_bytes: int | None
    max_events_a_day: int | None
    stored_bytes: int | None
    files_held: Quota | None
    files_held_at: datetime | None
    parked_cause: str | None
    parked_at: datetime | None
    refused_since: datetime | None
    paused_by: Pauser | None


@dataclass(frozen=True, kw_only=True)
class JournalEntry:
    """A change of a tenant, or of what belongs to it. `before` and `after` hold what differs."""

    id: int
    at: datetime
    who: str
    what: Literal["added", "changed", "removed"]
    kind: Literal["tenant", "user", "user_address", "inbox_address", "connection", "connect_link", "api_token"]
    name: str | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None


@dataclass(frozen=True, kw_only=True)
class PolicyChange:
    """The parts of a policy to set; None leaves a part as it is.

    An empty `only_inboxes` means every inbox, and 0 no quota.
    """

    action: str | None = None
    wait_for: str | None = None
    only_when_matched: bool | None = None
    fold_plus: bool | None = None
    act_within: timedelta | None = None
    only_inboxes: Sequence[str] | None = None
    dry_run: bool | None = None
    act_after: Literal["files", "notified"] | None = None
    max_stored_bytes: int | None = None
    max_events_a_day: int | None = None

    @property
    def has_quota(self) -> bool:
        """Whether it changes a quota."""
        return self.max_stored_bytes is not None or self.max_events_a_day is not None


def is_name(value: str) -> bool:
    """Whether the value can name a tenant or a customer: printable, not blank, not too long."""
    return bool(value.strip()) and without_joiners(value).isprintable() and len(value) <= LONGEST_NAME


def add(conn: Connection, name: str, company_id: str | None, *, customer: str | None = None) -> int:
    """Add a tenant, parked until it is connected, and return its id. Raises TenantTaken.

    Without a company the tenant gets the company of the admin who connects it. A `customer` may have several tenants.
    """
    row = conn.execute(
        """
        INSERT INTO tenants (name, company_id, customer, parked_cause, parked_at)
        VALUES (%s, %s, %s, 'needs_reconnect', now())
        ON CONFLICT DO NOTHING RETURNING id
        """,
        (name, company_id, customer),
    ).fetchone()
    if row is None:
        raise TenantTaken(_explain_taken(conn, name, company_id))
    return int(row[0])


def list_all(conn: Connection, *, customer: str | None = None) -> list[TenantOverview]:
    """Return all tenants, or those of one customer, sorted by name."""
    query = sql.SQL(OVERVIEW + "WHERE %(customer)s::text IS NULL OR t.customer = %(customer)s ORDER BY t.name")
    with conn.cursor(row_factory=class_row(TenantOverview)) as cursor:
        return cursor.execute(query, {"customer": customer}).fetchall()


def page(
    conn: Connection, *, after: int, limit: int, only: int | None = None, customer: str | None = None
) -> list[TenantOverview]:
    """Return the next `limit` tenants after this id, sorted by id; `only` and `customer` narrow the list."""
    values = {"after": after, "limit": limit, "only": only, "customer": customer}
    with conn.cursor(row_factory=class_row(TenantOverview)) as cursor:
        return cursor.execute(sql.SQL(OVERVIEW + PAGE), values).fetchall()


def find(conn: Connection, name: str) -> TenantOverview | None:
    """Return the tenant with this name, or else with this company id."""
    query = sql.SQL(OVERVIEW + "WHERE t.name = %(name)s OR t.company_id = %(name)s ORDER BY t.name <> %(name)s")
    with conn.cursor(row_factory=class_row(TenantOverview)) as cursor:
        return cursor.execute(query, {"name": clean(name, LONGEST_NAME)}).fetchone()


def get(conn: Connection, tenant_id: int) -> TenantOverview | None:
    """Return the tenant with this id."""
    with conn.cursor(row_factory=class_row(TenantOverview)) as cursor:
        return cursor.execute(sql.SQL(OVERVIEW + "WHERE t.id = %s"), (tenant_id,)).fetchone()


def without_connection(conn: Connection) -> list[str]:
    """Return the names of the tenants without a connection, except those that are being erased."""
    rows = conn.execute(
        "SELECT name FROM tenants t WHERE NOT EXISTS (SELECT FROM connections c WHERE c.tenant_id = t.id)"
        " AND parked_cause IS DISTINCT FROM 'erasing' ORDER BY name"
    )
    return [name for (name,) in rows]


def lock(conn: Connection, tenant_id: int) -> bool:
    """Lock the tenant against changes until the transaction ends. False if there is none."""
    row = conn.execute("SELECT FROM tenants WHERE id = %s FOR NO KEY UPDATE", (tenant_id,)).fetchone()
    return row is not None


def lock_against_removal(conn: Connection, tenant_id: int) -> bool:
    """Lock the tenant against removal until the transaction ends. False if there is none."""
    return conn.execute("SELECT FROM tenants WHERE id = %s FOR KEY SHARE", (tenant_id,)).fetchone() is not None


def set_policy(conn: Connection, tenant_id: int, change: PolicyChange) -> None:
    """Change the tenant's policy for future events; actions that are planned already keep theirs."""
    values = {f.name: value for f in fields(change) if (value := getattr(change, f.name)) is not None}
    if change.only_inboxes is not None:
        values["only_inboxes"] = list(change.only_inboxes) or None
    for quota in ("max_stored_bytes", "max_events_a_day"):
        if values.get(quota) == 0:
            values[quota] = None
    if values:
        assignments = sql.SQL(", ").join(
            sql.SQL("{} = {}").format(sql.Identifier(column), sql.Placeholder(column)) for column in values
        )
        query = sql.SQL("UPDATE tenants SET {} WHERE id = {}").format(assignments, sql.Placeholder("id"))
        conn.execute(query, {**values, "id": tenant_id})


def act_as(conn: Connection, who: str) -> None:
    """Name who makes the changes of this transaction. The journal gets those that come from now on."""
    conn.execute("SELECT set_config('mailroom.actor', %s, true)", (clean(who, LONGEST_ACTOR),))


def journal(conn: Connection, tenant_id: int, *, limit: int, before_id: int | None = None) -> list[JournalEntry]:
    """Return the latest changes of the tenant and of what belongs to it, newest first; `before_id` goes on after it."""
    with conn.cursor(row_factory=class_row(JournalEntry)) as cursor:
        return cursor.execute(
            "SELECT id, at, who, what, kind, name, before, after FROM tenant_journal WHERE tenant_id = %(tenant)s"
            " AND (%(before)s::bigint IS NULL OR id < %(before)s) ORDER BY id DESC LIMIT %(limit)s",
            {"tenant": tenant_id, "before": before_id, "limit": limit},
        ).fetchall()


def pause(conn: Connection, tenant_id: int, *, by: Pauser = "operator") -> bool:
    """Stop the tenant's work; deliveries are still received and recorded.

    False if the tenant was paused already, or is being erased. An operator takes over the tenant's own pause.
    """
    cursor = conn.execute(
        """
        UPDATE tenants SET parked_cause = 'paused', paused_by = %(by)s,
            parked_at = CASE parked_cause WHEN 'paused' THEN parked_at ELSE now() END
        WHERE id = %(id)s AND (coalesce(parked_cause, '') NOT IN ('paused', 'erasing')
            OR parked_cause = 'paused' AND paused_by = 'tenant' AND %(by)s = 'operator')
        """,
        {"id": tenant_id, "by": by},
    )
    return cursor.rowcount == 1


def resume(conn: Connection, tenant_id: int, *, by: Pauser = "operator") -> bool:
    """Release a paused tenant's work, if the tenant is connected.

    False if it was not paused, or if an operator paused it and `by` is the tenant.
    """
    cursor = conn.execute(
        """
        UPDATE tenants t SET
            parked_cause = CASE WHEN c.connected THEN NULL ELSE 'needs_reconnect' END,
            parked_at = CASE WHEN c.connected THEN NULL ELSE now() END, paused_by = NULL
        FROM (SELECT EXISTS (SELECT FROM connections WHERE tenant_id = %(id)s) AS connected) c
        WHERE t.id = %(id)s AND t.parked_cause = 'paused' AND (%(by)s = 'operator' OR t.paused_by = 'tenant')
        """,
        {"id": tenant_id, "by": by},
    )
    return cursor.rowcount == 1


def park(conn: Connection, tenant_id: int, cause: str, *, token_version: int, probe_seconds: float) -> bool:
    """Park the tenant's tasks for `cause`. False if the tenant was connected again since this token was read.

    A `token_version` of 0 means that there was no token. For a missing permission, one task tries again after
    `probe_seconds`.
    """
    # The lock is a statement of its own: after a wait for a new connection, the UPDATE must see its version.
    conn.execute("SELECT FROM tenants WHERE id = %s FOR NO KEY UPDATE", (tenant_id,))
    parked = conn.execute(
        """
        UPDATE tenants SET parked_cause = %(cause)s, parked_at = coalesce(parked_at, now()),
               probe_at = CASE %(cause)s WHEN 'missing_scope' THEN now() + make_interval(secs => %(probe)s) END
        WHERE id = %(tenant)s AND (parked_cause IS NULL OR parked_cause = 'missing_scope')
          AND coalesce((SELECT version FROM connections c WHERE c.tenant_id = %(tenant)s), 0) = %(version)s
        """,
        {"cause": cause, "tenant": tenant_id, "version": token_version, "probe": probe_seconds},
    )
    return parked.rowcount == 1


def release_scope(conn: Connection, tenant_id: int) -> None:
    """Release a tenant that was parked for a missing permission: one of its tasks has succeeded."""
    conn.execute(
        "UPDATE tenants SET parked_cause = NULL, parked_at = NULL, probe_at = NULL, probe_task_id = NULL"
        " WHERE id = %s AND parked_cause = 'missing_scope'",
        (tenant_id,),
    )


def hold_back(conn: Connection, tenant_id: int, seconds: float) -> None:
    """Dispatch none of the tenant's tasks for so long, because Front's budget for its company is used up."""
    conn.execute(
        "UPDATE tenants SET not_before = greatest(not_before, now() + make_interval(secs => %s)) WHERE id = %s",
        (seconds, tenant_id),
    )


def rest(conn: Connection, tenant_id: int, seconds: float) -> None:
    """Dispatch nothing of the tenant's backlog for so long, only its live work. Needs no transaction."""
    conn.execute("SELECT rest_tenant(%s, false, %s)", (tenant_id, seconds))


def _explain_taken(conn: Connection, name: str, company_id: str | None) -> str:
    row = conn.execute("SELECT name FROM tenants WHERE company_id = %s", (company_id,)).fetchone()
    if row is not None:
        return f"{company_id} belongs to the tenant {row[0]!r}; a company has one tenant"
    return f"there is a tenant {name!r} already; `mailroom tenant connect` gives it a new token"
