"""Connections: the grant with which we call Front for a tenant, the refresh of its OAuth tokens, and its secrets.

A worker claims the refresh of a grant for some seconds; no row is locked while it calls Front. It stores the new tokens
unless another grant has replaced the one it refreshed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from psycopg.rows import class_row

from shared.db import counters
from shared.db.core.pool import Connection
from shared.db.tenants import tenants
from shared.errors import BeingErased, NeedsReconnect, TokenUnavailable
from shared.models import Grant

#: A refresh token lives for half a year, and Front gives a new one only in its last 24 hours. So we ask twice a day.
KEEP_ALIVE_AFTER = timedelta(hours=12)

#: Refusals without a clear reason park the tenant after this time.
PARK_AFTER = timedelta(hours=1)
LONGEST_REFUSAL_SECONDS = 600.0

GRANTS = """
    SELECT c.tenant_id, t.company_id, c.kind, c.secret, c.version, c.expires_at, c.updated_at
    FROM connections c JOIN tenants t ON t.id = c.tenant_id
"""


@dataclass(frozen=True, kw_only=True)
class SealedSecret:
    """A tenant's secret as it is stored, encrypted."""

    tenant_id: int
    name: str
    secret: bytes


@dataclass(frozen=True, kw_only=True)
class RefusedTenant:
    """A tenant for which Front gives no new token. `parked`: its work waits until somebody connects it again."""

    tenant: str
    since: datetime
    parked: bool


def connect(
    conn: Connection,
    tenant_id: int,
    *,
    kind: Literal["api_token", "oauth"],
    secret: bytes,
    expires_at: datetime | None = None,
) -> int:
    """Give the tenant this grant in place of any older one, release its work, and return the grant's version.

    `connected_at` stays at the first connection, so that events between two connections may still be acted on.
    Raises BeingErased; then the transaction must not be committed.
    """
    row = conn.execute(
        """
        INSERT INTO connections AS c (tenant_id, kind, secret, expires_at, keep_alive_at)
        VALUES (%(tenant)s, %(kind)s, %(secret)s, %(expires)s,
                CASE %(kind)s WHEN 'oauth' THEN now() + %(keep_alive)s END)
        ON CONFLICT (tenant_id) DO UPDATE SET kind = excluded.kind, secret = excluded.secret,
            expires_at = excluded.expires_at, version = c.version + 1, updated_at = now(),
            refreshing_until = NULL, keep_alive_at = excluded.keep_alive_at, refusals = 0, refused_since = NULL
        RETURNING version
        """,
        {
            "tenant": tenant_id,
            "kind": kind,
            "secret": secret,
            "expires": expires_at,
            "keep_alive": KEEP_ALIVE_AFTER,
        },
    ).fetchone()
    released = conn.execute(
        """
        UPDATE tenants SET connected_at = coalesce(connected_at, now()), not_before = least(not_before, now()),
            parked_cause = CASE WHEN parked_cause = 'paused' THEN parked_cause END,
            parked_at = CASE WHEN parked_cause = 'paused' THEN parked_at END
        WHERE id = %s AND parked_cause IS DISTINCT FROM 'erasing'
        """,
        (tenant_id,),
    )
    if not released.rowcount:
        raise BeingErased("the tenant is being erased; add it anew when that is done")
    _make_waiting_tasks_due(conn, tenant_id)
    return int(row[0]) if row else 0


def read(conn: Connection, tenant_id: int) -> Grant | None:
    """Return the tenant's current grant."""
    with conn.cursor(row_factory=class_row(Grant)) as cursor:
        return cursor.execute(GRANTS + " WHERE c.tenant_id = %s", (tenant_id,)).fetchone()


def grant_of_another_tenant(conn: Connection, tenant_id: int) -> Grant | None:
    """Return the grant of another tenant that may call Front now, preferably of one that Front answered lately."""
    query = f"""{GRANTS}
    WHERE c.tenant_id <> %s AND coalesce(t.parked_cause, 'missing_scope') = 'missing_scope' AND t.not_before <= now()
    ORDER BY EXISTS (SELECT FROM unanswered_tasks u JOIN tasks ON tasks.id = u.task_id WHERE tasks.tenant_id = t.id),
        t.last_served_at DESC
    LIMIT 1
    """
    with conn.cursor(row_factory=class_row(Grant)) as cursor:
        return cursor.execute(query, (tenant_id,)).fetchone()


def claim_refresh(conn: Connection, grant: Grant, *, seconds: float) -> bool:
    """Claim the refresh of this grant for so long. False when another worker has the claim or replaced the grant."""
    claimed = conn.execute(
        """
        UPDATE connections SET refreshing_until = clock_timestamp() + make_interval(secs => %s)
        WHERE tenant_id = %s AND version = %s
          AND (refreshing_until IS NULL OR refreshing_until < clock_timestamp())
        """,
        (seconds, grant.tenant_id, grant.version),
    )
    return claimed.rowcount == 1


def postpone_refresh(conn: Connection, grant: Grant, *, seconds: float) -> None:
    """Let nobody refresh the grant for so long, because Front did not answer or asked to wait."""
    conn.execute(
        "UPDATE connections SET refreshing_until = clock_timestamp() + make_interval(secs => %s)"
        " WHERE tenant_id = %s AND version = %s",
        (seconds, grant.tenant_id, grant.version),
    )
    _count(conn, TokenUnavailable.code)


def note_refusal(conn: Connection, grant: Grant, *, seconds: float) -> bool:
    """Let nobody refresh the grant for twice as long as before, because Front refuses it without a clear reason.

    The wait begins with `seconds`. Returns whether Front has refused it for an hour. Then the tenant is parked, and the
    keep-alive job asks once an hour: the refusal may be Front's own mistake.
    """
    row = conn.execute(
        """
        UPDATE connections SET refusals = refusals + 1, refused_since = coalesce(refused_since, now()),
            refreshing_until = clock_timestamp() + make_interval(
                secs => greatest(%(first)s, least(%(first)s * 2 ^ least(refusals, 20), %(longest)s)))
        WHERE tenant_id = %(tenant)s AND version = %(version)s
        RETURNING now() - refused_since >= %(patience)s
        """,
        {
            "first": seconds,
            "longest": LONGEST_REFUSAL_SECONDS,
            "patience": PARK_AFTER,
            "tenant": grant.tenant_id,
            "version": grant.version,
        },
    ).fetchone()
    must_park = bool(row and row[0])
    if must_park:
        conn.execute(
            "UPDATE connections SET keep_alive_at = now() + %s WHERE tenant_id = %s", (PARK_AFTER, grant.tenant_id)
        )
        tenants.park(conn, grant.tenant_id, NeedsReconnect.code, token_version=grant.version, probe_seconds=0.0)
    _count(conn, NeedsReconnect.code if must_park else TokenUnavailable.code)
    return must_park


def seconds_until_refresh(conn: Connection, tenant_id: int) -> float:
    """Return the seconds until somebody may try to refresh the tenant's token, 0 when that is now."""
    row = conn.execute(
        "SELECT greatest(0, extract(epoch FROM refreshing_until - clock_timestamp()))::float8"
        " FROM connections WHERE tenant_id = %s",
        (tenant_id,),
    ).fetchone()
    return float(row[0] or 0) if row else 0.0


def refused_tenants(conn: Connection) -> list[RefusedTenant]:
    """Return the tenants for which Front gives no new token, those whose grant has ended included."""
    with conn.cursor(row_factory=class_row(RefusedTenant)) as cursor:
        return cursor.execute(
            """
            SELECT t.name AS tenant, coalesce(c.refused_since, t.parked_at, t.created_at) AS since,
                   coalesce(t.parked_cause = %(cause)s, false) AS parked
            FROM tenants t JOIN connections c ON c.tenant_id = t.id
            WHERE (c.refused_since IS NOT NULL OR t.parked_cause = %(cause)s)
              AND t.parked_cause IS DISTINCT FROM 'erasing' ORDER BY t.name
            """,
            {"cause": NeedsReconnect.code},
        ).fetchall()


def is_refused(conn: Connection, tenant_id: int) -> bool:
    """Whether Front refuses to refresh the tenant's token without a clear reason."""
    row = conn.execute(
        "SELECT refused_since IS NOT NULL FROM connections WHERE tenant_id = %s", (tenant_id,)
    ).fetchone()
    return bool(row and row[0])


def store_refreshed(conn: Connection, grant: Grant, *, secret: bytes, expires_at: datetime) -> None:
    """Store new tokens in place of this grant's, unless the grant was replaced.

    If an attempt parked the tenant because of the old tokens meanwhile, its work is released.
    """
    stored = conn.execute(
        """
        UPDATE connections SET secret = %s, expires_at = %s, version = version + 1, updated_at = now(),
               refreshing_until = NULL, keep_alive_at = now() + %s, refusals = 0, refused_since = NULL
        WHERE tenant_id = %s AND version = %s
        """,
        (secret, expires_at, KEEP_ALIVE_AFTER, grant.tenant_id, grant.version),
    )
    if stored.rowcount:
        # Unconditional, to wait for the row lock of an attempt that is just parking the tenant for the old version.
        conn.execute(
            """
            UPDATE tenants SET not_before = least(not_before, now()), parked_cause = nullif(parked_cause, %(cause)s),
                   parked_at = CASE WHEN parked_cause IS DISTINCT FROM %(cause)s THEN parked_at END
            WHERE id = %(tenant)s
            """,
            {"tenant": grant.tenant_id, "cause": NeedsReconnect.code},
        )
        _make_waiting_tasks_due(conn, grant.tenant_id)
        _count(conn, "ok")


def refuse_grant(conn: Connection, grant: Grant) -> bool:
    """Park the tenant and refresh no more, because Front refused the grant for good. False when it was replaced."""
    refused = conn.execute(
        "UPDATE connections SET refreshing_until = NULL, keep_alive_at = 'infinity'"
        " WHERE tenant_id = %s AND version = %s",
        (grant.tenant_id, grant.version),
    )
    if refused.rowcount:
        tenants.park(conn, grant.tenant_id, NeedsReconnect.code, token_version=grant.version, probe_seconds=0.0)
        _count(conn, NeedsReconnect.code)
    return refused.rowcount == 1


def pick_idle_connections(conn: Connection, *, again_seconds: float, limit: int = 50) -> list[int]:
    """Pick tenants whose tokens were not refreshed for long, and return their ids.

    A tenant is picked again after `again_seconds`, until its tokens are refreshed.
    """
    rows = conn.execute(
        """
        UPDATE connections SET keep_alive_at = now() + make_interval(secs => %s)
        WHERE tenant_id IN (SELECT tenant_id FROM connections WHERE keep_alive_at <= now()
                            ORDER BY keep_alive_at LIMIT %s FOR UPDATE SKIP LOCKED)
        RETURNING tenant_id
        """,
        (again_seconds, limit),
    )
    return [tenant_id for (tenant_id,) in rows]


def count_sealed(conn: Connection) -> int:
    """Count the stored secrets."""
    row = conn.execute("SELECT count(*) FROM connections").fetchone()
    return int(row[0]) if row else 0


def sealed_batches(conn: Connection, *, size: int) -> Iterator[list[SealedSecret]]:
    """Yield all stored secrets in batches. Each batch is read only when the caller asks for it."""
    after = 0
    while batch := _next_batch(conn, after, size):
        yield batch
        after = batch[-1].tenant_id


def replace_sealed(conn: Connection, old: Mapping[int, bytes], new: Mapping[int, bytes]) -> int:
    """Store the `new` secret of each tenant that still has exactly the `old` one; return their number.

    The version stays, because the token inside is the same: an attempt that read the old secret has a current token.
    """
    tenants = list(new)
    return conn.execute(
        """
        UPDATE connections c SET secret = k.new
        FROM unnest(%s::bigint[], %s::bytea[], %s::bytea[]) AS k(tenant_id, old, new)
        WHERE c.tenant_id = k.tenant_id AND c.secret = k.old
        """,
        (tenants, [old[tenant] for tenant in tenants], [new[tenant] for tenant in tenants]),
    ).rowcount


def _make_waiting_tasks_due(conn: Connection, tenant_id: int) -> None:
    """Make the tasks due that wait for a new token, except those that an attempt is just putting back."""
    conn.execute(
        """
        UPDATE tasks SET due_at = now() WHERE id IN (
            SELECT id FROM tasks WHERE tenant_id = %s AND state = 'ready' AND code = %s
                AND due_at > now() AND due_at < 'infinity' FOR UPDATE SKIP LOCKED)
        """,
        (tenant_id, TokenUnavailable.code),
    )


def _next_batch(conn: Connection, after: int, size: int) -> list[SealedSecret]:
    with conn.cursor(row_factory=class_row(SealedSecret)) as cursor:
        return cursor.execute(
            """
            SELECT c.tenant_id, t.name, c.secret FROM connections c JOIN tenants t ON t.id = c.tenant_id
            WHERE c.tenant_id > %s ORDER BY c.tenant_id LIMIT %s
            """,
            (after, size),
        ).fetchall()


def _count(conn: Connection, result: str) -> None:
    """Count a call of the token endpoint. It comes last in its transaction, since all tenants share the row."""
    counters.increase(conn, f"token_refreshes:{result}", 1)
