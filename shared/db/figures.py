"""Figures for people: what happened by the minute, and a count of the open work that all who look share."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from shared.db.core.arrays import Bigints, Times
from shared.db.core.locks import try_lock_shared_figures
from shared.db.counters import read_counters
from shared.db.reading import status
from shared.models import MOST_COUNTED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.db.core.pool import Connection

#: What is counted, in the order of the columns.
KINDS = ("received", "recorded", "ignored", "done", "failed", "parked", "calls", "calls_refused")
KEPT_DAYS = 30
Part: TypeAlias = Literal["both", "total", "tenants"]
#: Stands for all tenants together, and for none.
ALL = 0

_COLUMNS = ", ".join(KINDS)
_SUM = ", ".join(f"coalesce(sum({kind}), 0)::bigint AS {kind}" for kind in KINDS)


# Files and other work that is due have an index each.
_DUE = """
    SELECT k.due_at FROM tasks k
    WHERE k.tenant_id = t.id AND k.state = 'ready' AND k.kind = 'store_attachment' AND k.due_at <= now()
    UNION ALL SELECT k.due_at FROM tasks k
    WHERE k.tenant_id = t.id AND k.state = 'ready' AND k.kind NOT IN ('store_attachment', 'notify')
      AND k.due_at <= now()
"""
#: The oldest tasks of each tenant among which the oldest of each kind is looked for, in both lanes.
_OLDEST_OF_EACH = 20
_OPEN_WORK = f"""
    WITH RECURSIVE codes AS (
        (SELECT code FROM tasks WHERE state = 'failed' ORDER BY code LIMIT 1)
        UNION ALL
        SELECT (SELECT code FROM tasks WHERE state = 'failed' AND code > c.code ORDER BY code LIMIT 1)
        FROM codes c WHERE c.code IS NOT NULL
    )
    SELECT
        (SELECT count(*) FROM (SELECT FROM tasks WHERE state = 'failed' LIMIT {MOST_COUNTED + 1}) f),
        (SELECT count(*) FROM (SELECT FROM tasks WHERE state IN ('queued', 'running') LIMIT {MOST_COUNTED + 1}) r),
        (SELECT count(*) FROM (SELECT FROM tenants t CROSS JOIN LATERAL ({_DUE}) k WHERE t.parked_cause IS NULL
                               LIMIT {MOST_COUNTED + 1}) due),
        (SELECT min(k.due_at) FROM tenants t CROSS JOIN LATERAL (
            SELECT min(due_at) AS due_at FROM (
                (SELECT due_at FROM tasks WHERE tenant_id = t.id AND state = 'ready' AND kind = 'store_attachment'
                 ORDER BY due_at LIMIT 1)
                UNION ALL
                (SELECT due_at FROM tasks WHERE tenant_id = t.id AND state = 'ready'
                     AND kind NOT IN ('store_attachment', 'notify')
                 ORDER BY due_at LIMIT 1)) oldest
            WHERE due_at <= now()) k
         WHERE t.parked_cause IS NULL),
        (SELECT coalesce(jsonb_object_agg(kind, due_at), '{{}}') FROM (
            SELECT k.kind, min(k.due_at) AS due_at FROM tenants t CROSS JOIN LATERAL (
                (SELECT kind, due_at FROM tasks WHERE tenant_id = t.id AND state = 'ready'
                     AND kind = 'store_attachment' AND due_at <= now() ORDER BY due_at LIMIT 1)
                UNION ALL
                (SELECT kind, due_at FROM tasks WHERE tenant_id = t.id AND state = 'ready'
                     AND kind NOT IN ('store_attachment', 'notify') AND due_at <= now()
                 ORDER BY due_at LIMIT {_OLDEST_OF_EACH})) k
            WHERE t.parked_cause IS NULL GROUP BY k.kind) by_kind),
        (SELECT count(*) FROM (SELECT FROM spooled_deliveries LIMIT {MOST_COUNTED + 1}) s),
        (SELECT min(received_at) FROM spooled_deliveries),
        (SELECT coalesce(jsonb_object_agg(code, (
            SELECT count(*) FROM (SELECT FROM tasks WHERE state = 'failed' AND code = c.code LIMIT {MOST_COUNTED + 1}) f
         )), '{{}}') FROM codes c WHERE code IS NOT NULL)
""".encode()  # noqa: S608 -- numbers of ours
#: The prefix of the counters to which deleted figures of all tenants together are added.
DELETED = "figures:"
_DELETE_OLD = f"""
    WITH gone AS (
        DELETE FROM minute_figures WHERE ctid = ANY(ARRAY(SELECT ctid FROM minute_figures
            WHERE minute < now() - make_interval(days => %s) ORDER BY minute LIMIT %s))
        RETURNING *
    ), kept AS (
        INSERT INTO counters AS c (name, value)
        SELECT '{DELETED}' || each.kind, sum(each.n) FROM gone
        CROSS JOIN LATERAL (VALUES {", ".join(f"('{kind}', {kind})" for kind in KINDS)}) each(kind, n)
        WHERE tenant_id IS NULL GROUP BY each.kind HAVING sum(each.n) > 0
        ON CONFLICT (name) DO UPDATE SET value = c.value + excluded.value
    )
    SELECT count(*) FROM gone
""".encode()  # noqa: S608 -- names of ours
#: Before every figure.
NO_TIME = datetime(1970, 1, 1, tzinfo=UTC)
#: The name of the shared count, and how old it may be when it is shown.
OPEN_WORK, FRESH_SECONDS = "open_work", 5.0


@dataclass(frozen=True, kw_only=True)
class Minute:
    """The figures of one minute."""

    minute: datetime
    received: int = 0
    recorded: int = 0
    ignored: int = 0
    done: int = 0
    failed: int = 0
    parked: int = 0
    calls: int = 0
    calls_refused: int = 0


@dataclass(frozen=True, kw_only=True)
class Caller:
    """A tenant, and the calls to Front that were made for it in one minute."""

    tenant_id: int
    tenant: str
    company_id: str
    calls: int


@dataclass(frozen=True, kw_only=True)
class Sums:
    """The figures of a span of time, added up."""

    received: int
    recorded: int
    ignored: int
    done: int
    failed: int
    parked: int
    calls: int
    calls_refused: int


class Tally:
    """Counts of one or more minutes, by tenant. They count for all together, too, when they are written."""

    def __init__(self) -> None:
        self._minutes: dict[datetime, dict[str, Counter[int]]] = {}

    def __bool__(self) -> bool:
        return bool(self._minutes)

    def add(self, kind: str, at: datetime, by_tenant: Mapping[int | None, int]) -> None:
        """Count what happened at this moment; None is no tenant."""
        kinds = self._minutes.setdefault(at.replace(second=0, microsecond=0), {})
        counts = kinds.setdefault(kind, Counter())
        for tenant_id, count in by_tenant.items():
            counts[tenant_id or ALL] += count

    def merge(self, other: Tally) -> None:
        """Add the counts of another tally."""
        for minute, kinds in other._minutes.items():
            for kind, counts in kinds.items():
                self._minutes.setdefault(minute, {}).setdefault(kind, Counter()).update(counts)

    def kinds(self) -> tuple[str, ...]:
        """Return the kinds that were counted, in the order of KINDS."""
        counted = {kind for kinds in self._minutes.values() for kind in kinds}
        return tuple(kind for kind in KINDS if kind in counted)

    def columns(self, part: Part) -> list[Sequence[object]]:
        """Return the columns minute, tenant and one for each kind.

        The order of the rows is the same for all, so that no two writers ever deadlock.
        """
        names = self.kinds()
        minutes, tenants = Times(), Bigints()
        numbers = [Bigints() for _ in names]
        for minute in sorted(self._minutes):
            kinds = self._minutes[minute]
            ids = sorted(set().union(*kinds.values()) - {ALL}) if part != "total" else []
            own = [] if part == "tenants" else [None]
            minutes += [minute] * (len(own) + len(ids))
            tenants += [*own, *ids]
            for name, column in zip(names, numbers, strict=True):
                counts = kinds.get(name, Counter())
                column += [counts.total() for _ in own]
                column += [counts[tenant] for tenant in ids]
        return [minutes, tenants, *numbers]


def add(conn: Connection, tally: Tally, part: Part = "both") -> None:
    """Add the counts to the figures of their minutes, with one statement: of tenants, of all together, or both.

    A tenant may be gone meanwhile. Its counts are left out then, and still count for all together.
    """
    if tally:
        conn.execute(_statement(tally.kinds()), tally.columns(part))


@cache
def _statement(kinds: tuple[str, ...]) -> bytes:
    columns, numbers = ", ".join(kinds), ", ".join(["%s::bigint[]"] * len(kinds))
    return f"""
        INSERT INTO minute_figures AS f (minute, tenant_id, {columns})
        SELECT n.* FROM unnest(%s::timestamptz[], %s::bigint[], {numbers}) AS n(minute, tenant_id, {columns})
        WHERE n.tenant_id IS NULL OR EXISTS (SELECT FROM tenants t WHERE t.id = n.tenant_id)
        ON CONFLICT (minute, coalesce(tenant_id, 0)) DO UPDATE
        SET {", ".join(f"{kind} = f.{kind} + excluded.{kind}" for kind in kinds)}
    """.encode()  # noqa: S608 -- names of ours


def by_minute(conn: Connection, since: datetime, *, tenant_id: int | None = None) -> list[Minute]:
    """Return the figures since then, the oldest minute first; minutes in which nothing happened are left out."""
    with conn.cursor(row_factory=class_row(Minute)) as cursor:
        return cursor.execute(
            f"SELECT minute, {_COLUMNS} FROM minute_figures "  # noqa: S608 -- names of ours
            "WHERE minute >= %s AND coalesce(tenant_id, 0) = %s ORDER BY minute".encode(),
            (since, tenant_id or 0),
        ).fetchall()


def last_minute(conn: Connection, kind: str) -> datetime | None:
    """Return the last minute in which something of this kind happened; None if it never did, or too long ago."""
    row = conn.execute(
        f"SELECT minute FROM minute_figures WHERE coalesce(tenant_id, 0) = 0 AND {KINDS[KINDS.index(kind)]} > 0"  # noqa: S608
        " ORDER BY minute DESC LIMIT 1".encode()
    ).fetchone()
    return row[0] if row else None


def busiest(conn: Connection, minute: datetime, *, limit: int) -> list[Caller]:
    """Return the tenants for whom Front was called most in this minute."""
    with conn.cursor(row_factory=class_row(Caller)) as cursor:
        return cursor.execute(
            "SELECT t.id AS tenant_id, t.name AS tenant, t.company_id, f.calls"
            " FROM minute_figures f JOIN tenants t ON t.id = f.tenant_id"
            " WHERE f.minute = %s AND f.calls > 0 AND t.company_id IS NOT NULL ORDER BY f.calls DESC, t.id LIMIT %s",
            (minute, limit),
        ).fetchall()


def sums(conn: Connection, since: datetime) -> Sums:
    """Add up the figures of all tenants since then."""
    with conn.cursor(row_factory=class_row(Sums)) as cursor:
        row = cursor.execute(
            f"SELECT {_SUM} FROM minute_figures WHERE minute >= %s AND coalesce(tenant_id, 0) = 0".encode(),  # noqa: S608
            (since,),
        ).fetchone()
    assert row is not None  # noqa: S101 -- an aggregate gives one row
    return row


def totals(conn: Connection) -> Sums:
    """Add up the figures of all tenants since the first delivery. They only grow: deleted minutes count on."""
    kept, deleted = sums(conn, NO_TIME), read_counters(conn, DELETED)
    return Sums(**{kind: getattr(kept, kind) + deleted.get(kind, 0) for kind in KINDS})


def delete_old(conn: Connection, *, limit: int) -> int:
    """Delete figures that are older than KEPT_DAYS, oldest first, and return how many. `totals` still has them."""
    row = conn.execute(_DELETE_OLD, (KEPT_DAYS, limit)).fetchone()
    return int(row[0]) if row else 0


@dataclass(frozen=True, kw_only=True)
class OpenWork:
    """The work that is open; each count ends one after MOST_COUNTED.

    `due` tasks could run now if there were free slots. `oldest_due_at` is when the first of them fell due,
    `oldest_by_kind` when the first of each kind did, among the oldest tasks of each tenant. `failed_by_code` counts
    the failed tasks of each code.
    """

    failed: int
    failed_by_code: dict[str, int]
    parked: int
    due: int
    in_flight: int
    spooled: int
    oldest_due_at: datetime | None
    oldest_by_kind: dict[str, datetime]
    oldest_spooled_at: datetime | None
    computed_at: datetime


def open_work(conn: Connection) -> OpenWork:
    """Return the open work of at most FRESH_SECONDS ago; of a bit longer while somebody else counts it again."""
    found = _shared(conn)
    if found and found[1]:
        return found[0]
    if not try_lock_shared_figures(conn) and found:
        return found[0]
    document = _count_open_work(conn)
    conn.execute(
        "INSERT INTO shared_figures AS f VALUES (%s, %s, now()) ON CONFLICT (name) DO UPDATE"
        " SET document = excluded.document, computed_at = excluded.computed_at",
        (OPEN_WORK, Jsonb(document)),
    )
    found = _shared(conn)
    assert found  # noqa: S101 -- it was written just now
    return found[0]


def _shared(conn: Connection) -> tuple[OpenWork, bool] | None:
    row = conn.execute(
        "SELECT document, computed_at, computed_at > now() - make_interval(secs => %s) FROM shared_figures"
        " WHERE name = %s",
        (FRESH_SECONDS, OPEN_WORK),
    ).fetchone()
    if row is None or row[0].keys() != {field.name for field in fields(OpenWork)} - {"computed_at"}:
        return None
    moments: dict[str, Any] = {
        name: value and datetime.fromisoformat(value) for name, value in row[0].items() if name.endswith("_at")
    }
    by_kind = row[0]["oldest_by_kind"].items()
    moments["oldest_by_kind"] = {kind: datetime.fromisoformat(due_at) for kind, due_at in by_kind}
    return OpenWork(**row[0] | moments, computed_at=row[1]), row[2]


def _count_open_work(conn: Connection) -> dict[str, Any]:
    row = conn.execute(_OPEN_WORK).fetchone()
    assert row is not None  # noqa: S101 -- a statement without a table gives one row
    names = (
        "failed",
        "in_flight",
        "due",
        "oldest_due_at",
        "oldest_by_kind",
        "spooled",
        "oldest_spooled_at",
        "failed_by_code",
    )
    document = {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in zip(names, row, strict=True)
    }
    return document | {"parked": min(sum(each.events for each in status.parked_work(conn)), MOST_COUNTED + 1)}
