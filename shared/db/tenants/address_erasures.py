"""The erasures of e-mail addresses: requested by people, carried out by workers a slice at a time.

The address is encrypted until its erasure has ended. Each slice writes what it did in its own transaction, so an
erasure goes on after any crash where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from psycopg.rows import class_row

from shared.errors import Fenced

if TYPE_CHECKING:
    from shared.db.core.pool import Connection

Outcome = Literal["cut", "masked", "deleted"]
#: A worker that has an erasure is dead when its claim is this old; it rests this long while something must end first.
CLAIM_SECONDS = 60.0
REST_SECONDS = 1.0
_COLUMNS = (
    "e.id, e.tenant_id, t.name AS tenant, e.mask, e.requested_by, e.requested_at, e.state, e.ended_at, "
    "e.reached, e.until_event"
)
_FROM = "FROM address_erasures e LEFT JOIN tenants t ON t.id = e.tenant_id"


@dataclass(frozen=True, kw_only=True)
class Erasure:
    """An erasure as people see it. `mask` stands where the address stood.

    `until_event` is the last event that is looked at, None while earlier mail is not recorded yet.
    """

    id: int
    tenant_id: int | None
    tenant: str | None
    mask: str
    requested_by: str
    requested_at: datetime
    state: Literal["waiting", "running", "done"]
    ended_at: datetime | None
    reached: int
    until_event: int | None


@dataclass(frozen=True, kw_only=True)
class Item:
    """An event or a table that had the address. `outcome` is None while a task of the event runs."""

    place: str
    outcome: Outcome | None
    count: int
    settled_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Claimed:
    """An erasure that is carried out under a claim, with the encrypted address."""

    id: int
    claims: int
    tenant_id: int | None
    mask: str
    sealed: bytes
    requested_by: str
    requested_at: datetime
    reached: int
    until_event: int | None


def owner(erasure_id: int) -> str:
    """Return the name to which the encrypted address is bound."""
    return f"address erasure {erasure_id}"


def request(conn: Connection, *, tenant_id: int | None, mask: str, who: str, seal: Callable[[str], bytes]) -> int:
    """Ask for an erasure, and return its number: that of one that is open for the same address, if there is one."""
    open_one = conn.execute(
        "SELECT id FROM address_erasures WHERE state <> 'done' AND mask = %s AND tenant_id IS NOT DISTINCT FROM %s"
        " AND until_event IS NULL FOR UPDATE",
        (mask, tenant_id),
    ).fetchone()
    if open_one is not None:
        return int(open_one[0])
    row = conn.execute("SELECT nextval(pg_get_serial_sequence('address_erasures', 'id'))").fetchone()
    assert row is not None  # noqa: S101 -- a function gives one row
    erasure_id = int(row[0])
    conn.execute(
        "INSERT INTO address_erasures (id, tenant_id, mask, sealed, requested_by) OVERRIDING SYSTEM VALUE"
        " VALUES (%s, %s, %s, %s, %s)",
        (erasure_id, tenant_id, mask, seal(owner(erasure_id)), who),
    )
    return erasure_id


def get(conn: Connection, erasure_id: int) -> Erasure | None:
    """Return an erasure."""
    with conn.cursor(row_factory=class_row(Erasure)) as cursor:
        return cursor.execute(f"SELECT {_COLUMNS} {_FROM} WHERE e.id = %s".encode(), (erasure_id,)).fetchone()


def latest(
    conn: Connection, *, limit: int, before_id: int | None = None, tenant_id: int | None = None
) -> list[Erasure]:
    """Return the latest erasures, latest first; only those that are bound to one tenant, if it is named."""
    with conn.cursor(row_factory=class_row(Erasure)) as cursor:
        return cursor.execute(
            f"SELECT {_COLUMNS} {_FROM} WHERE (%(before)s::bigint IS NULL OR e.id < %(before)s)"
            " AND (%(tenant)s::bigint IS NULL OR e.tenant_id = %(tenant)s) ORDER BY e.id DESC LIMIT %(limit)s".encode(),
            {"before": before_id, "tenant": tenant_id, "limit": limit},
        ).fetchall()


def items(conn: Connection, erasure_id: int, *, limit: int, after: str = "") -> list[Item]:
    """Return what had the address, by the name of the place."""
    with conn.cursor(row_factory=class_row(Item)) as cursor:
        return cursor.execute(
            "SELECT place, outcome, count, settled_at FROM address_erasure_items"
            " WHERE erasure_id = %s AND place > %s ORDER BY place LIMIT %s",
            (erasure_id, after, limit),
        ).fetchall()


def outcomes(conn: Connection, erasure_id: int) -> dict[str, int]:
    """Count the events and rows of other tables by outcome; those that wait for a task are `open`."""
    rows = conn.execute(
        "SELECT coalesce(outcome, 'open'), sum(count)::bigint FROM address_erasure_items WHERE erasure_id = %s"
        " GROUP BY 1 ORDER BY 1",
        (erasure_id,),
    )
    return dict(rows.fetchall())


def due(conn: Connection) -> list[int]:
    """Return open erasures that nobody carries out at the moment."""
    rows = conn.execute(
        "SELECT id FROM address_erasures WHERE state <> 'done' AND claimed_until < now() ORDER BY id LIMIT 5"
    )
    return [erasure_id for (erasure_id,) in rows]


def claim(conn: Connection, erasure_id: int) -> Claimed | None:
    """Take an open erasure that nobody carries out."""
    with conn.cursor(row_factory=class_row(Claimed)) as cursor:
        return cursor.execute(
            """
            UPDATE address_erasures SET claims = claims + 1, claimed_until = now() + make_interval(secs => %s)
            WHERE id = %s AND state <> 'done' AND claimed_until < now()
            RETURNING id, claims, tenant_id, mask, sealed, requested_by, requested_at, reached, until_event
            """,
            (CLAIM_SECONDS, erasure_id),
        ).fetchone()


def extend(conn: Connection, erasure: Claimed, *, seconds: float = CLAIM_SECONDS) -> None:
    """Keep the erasure for so long from now on. Raises Fenced when another worker took it."""
    cursor = conn.execute(
        "UPDATE address_erasures SET claimed_until = now() + make_interval(secs => %s) WHERE id = %s AND claims = %s",
        (seconds, erasure.id, erasure.claims),
    )
    if cursor.rowcount == 0:
        raise Fenced(f"erasure {erasure.id} was taken by another worker")


def begin(conn: Connection, erasure: Claimed, until_event: int) -> None:
    """Note the last event that the erasure looks at."""
    conn.execute(
        "UPDATE address_erasures SET until_event = %s, state = 'running' WHERE id = %s", (until_event, erasure.id)
    )


def note_reached(conn: Connection, erasure: Claimed, event_id: int) -> None:
    """Note up to which event all were looked at."""
    conn.execute("UPDATE address_erasures SET reached = %s WHERE id = %s", (event_id, erasure.id))


def note_events(conn: Connection, erasure: Claimed, event_ids: Sequence[int], outcome: Outcome | None) -> None:
    """Note what became of these events; None: they wait for a running task."""
    conn.execute(
        """
        INSERT INTO address_erasure_items (erasure_id, place, event_id, outcome, settled_at)
        SELECT %(erasure)s, 'event ' || id, id, %(outcome)s, CASE WHEN %(outcome)s::text IS NOT NULL THEN now() END
        FROM unnest(%(ids)s::bigint[]) id
        ON CONFLICT (erasure_id, place) DO UPDATE SET outcome = excluded.outcome, settled_at = excluded.settled_at
        """,
        {"erasure": erasure.id, "ids": sorted(event_ids), "outcome": outcome},
    )


def note_rows(conn: Connection, erasure: Claimed, counts: Mapping[str, int], outcome: Outcome) -> None:
    """Note what became of the rows of tables."""
    for table, count in counts.items():
        if count:
            conn.execute(
                """
                INSERT INTO address_erasure_items AS i (erasure_id, place, outcome, count, settled_at)
                VALUES (%s, %s, %s, %s, now())
                ON CONFLICT (erasure_id, place) DO UPDATE SET count = i.count + excluded.count, settled_at = now()
                """,
                (erasure.id, f"{table}, {outcome}", outcome, count),
            )


def waits_for_tasks(conn: Connection, erasure: Claimed) -> bool:
    """Whether an event waits for a task that runs."""
    row = conn.execute(
        "SELECT EXISTS (SELECT FROM address_erasure_items WHERE erasure_id = %s AND outcome IS NULL)", (erasure.id,)
    ).fetchone()
    return bool(row and row[0])


def waits_for_files(conn: Connection, erasure: Claimed) -> bool:
    """Whether a file of an event that was cut is still in the storage."""
    row = conn.execute(
        """
        SELECT EXISTS (SELECT FROM address_erasure_items i JOIN attachments a ON a.event_id = i.event_id
                       JOIN expired_files f ON f.tenant_id = a.tenant_id AND f.front_id = a.front_id
                       WHERE i.erasure_id = %s AND i.outcome = 'cut')
        """,
        (erasure.id,),
    ).fetchone()
    return bool(row and row[0])


def end(conn: Connection, erasure: Claimed) -> None:
    """End the erasure, and forget the address."""
    conn.execute(
        "UPDATE address_erasures SET state = 'done', sealed = NULL, ended_at = now() WHERE id = %s", (erasure.id,)
    )
