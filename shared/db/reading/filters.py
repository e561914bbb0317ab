"""Turns a filter that a person chose into the conditions of a query."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from psycopg import sql

from shared.addresses import match_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.db.core.pool import Connection

#: No row stores that a task is parked: its tenant's cause parks it.
SHOWN_TASK_STATE = (
    "CASE WHEN k.state IN ('ready', 'queued') AND t.parked_cause IS NOT NULL AND k.kind <> 'notify' THEN 'parked'"
    " ELSE k.state END"
)


#: An array: with it a condition goes by an index, and a join does not.
PARKED_TENANTS = "ARRAY(SELECT id FROM tenants WHERE parked_cause IS NOT NULL)"
#: The kinds of tasks that nearly every event has; those of all others are found by an index.
FREQUENT_KINDS = ("store_attachment", "apply_action")
RARE_KIND = "k.kind = %(kind)s AND k.kind NOT IN ('store_attachment', 'apply_action')"
#: The types of most events; those of all others are found by an index.
FREQUENT_TYPES = ("inbound_received", "outbound_sent")
RARE_TYPE = "e.type = %(type)s AND e.type NOT IN ('inbound_received', 'outbound_sent')"
# The index on conversations begins with the tenant.
OF_CONVERSATION = (
    "(e.tenant_id = ANY(ARRAY(SELECT id FROM tenants)) AND e.conversation_id = %(conversation_id)s"
    " OR e.tenant_id IS NULL AND e.conversation_id = %(conversation_id)s)"
)
# No index knows the recipients: they would be a fourth of the cost of recording. CASE looks at the text first, because
# that is ten times as fast as to read the JSON, and keeps the planner from expecting hardly any row.
OF_ADDRESS = """
    CASE WHEN lower(e.recipients::text) LIKE ANY(%(hints)s) THEN EXISTS (
        SELECT FROM json_array_elements(e.recipients) r
        WHERE lower(r->>0) = ANY(%(spellings)s) OR (r->>2)::bigint = ANY(%(users)s)) ELSE false END"""
#: A tenant with more events than this has a page of them among the newest ones of all.
MANY_EVENTS = 10_000
#: Rows get their ids before they are committed, and two recorders take turns: so far apart are ids and times at most.
OUT_OF_ORDER = 20_000
#: Events that were recorded so long after they were received have an index of their own.
LATE = timedelta(minutes=10)
RECORDED_LATE = "e.recorded_at - e.received_at > interval '10 minutes'"


@dataclass(frozen=True, kw_only=True)
class KnownValues:
    """Values for filters, as far as small tables know them: tenants, codes, and types."""

    tenants: list[str]
    codes: list[str]
    types: list[str]


@dataclass(frozen=True, kw_only=True)
class Filter:
    """The conditions of a list, all of which must hold; None is no condition.

    `email`: the address of a recipient, or another address of a user who was a recipient. `before_id`: only rows with a
    smaller number, to go on after a page of a list whose newest row comes first.
    """

    tenant_id: int | None = None
    state: str | None = None
    code: str | None = None
    kind: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    conversation_id: str | None = None
    type: str | None = None
    email: str | None = None
    group: int | None = None
    endpoint: int | None = None
    job: int | None = None
    before_id: int | None = None
    ids: tuple[int, ...] | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is no condition at all."""
        return self == Filter()

    def values(self) -> dict[str, Any]:
        """Return the parameters of the query."""
        return {**vars(self), "ids": None if self.ids is None else list(self.ids)}


def known_values(conn: Connection, *, most: int) -> KnownValues:
    """Return the first names of tenants, causes of failures and of parking, and types of events."""

    def values(query: str) -> list[str]:
        return [value for (value,) in conn.execute(f"{query} LIMIT %s".encode(), (most,))]

    return KnownValues(
        tenants=values("SELECT name FROM tenants ORDER BY name"),
        codes=values(
            "SELECT code FROM failure_groups UNION SELECT parked_cause FROM tenants WHERE parked_cause IS NOT NULL"
            " ORDER BY code"
        ),
        types=values("SELECT type FROM seen_event_types ORDER BY type"),
    )


def where(wanted: Filter, conditions: Mapping[str, str]) -> sql.SQL:
    """Return a WHERE clause of those `conditions` whose field is set in the filter."""
    given = [text for name, text in conditions.items() if wanted.values()[name] is not None]
    return sql.SQL("WHERE " + " AND ".join(given) if given else "")


def of_type(name: str | None) -> str:
    """Return the condition for events of this type, written for the index that there is."""
    return "e.type = %(type)s" if name in FREQUENT_TYPES else RARE_TYPE


def lowest_id(conn: Connection, table: str, column: str, since: datetime) -> int:
    """Return an id below those of all rows that were written since then; their times grow with their ids."""
    return max(0, _first_id(conn, table, column, since) - OUT_OF_ORDER)


def highest_id(conn: Connection, table: str, column: str, until: datetime) -> int:
    """Return an id above those of all rows that were written before then; their times grow with their ids."""
    return _first_id(conn, table, column, until) + OUT_OF_ORDER


def _first_id(conn: Connection, table: str, column: str, since: datetime) -> int:
    """Halve the ids until the place of the time is found. An index on it would cost the recorder a row an event."""
    row = conn.execute(f"SELECT coalesce(max(id), 0) FROM {table}".encode()).fetchone()  # noqa: S608 -- a name of ours
    low, high = 0, int(row[0]) if row else 0
    query = f"SELECT id, {column} < %s FROM {table} WHERE id >= %s ORDER BY id LIMIT 1".encode()  # noqa: S608
    while low < high:
        middle = (low + high) // 2
        found = conn.execute(query, (since, middle)).fetchone()
        if found and found[1]:
            low = int(found[0]) + 1
        else:
            high = middle
    return low


def address_values(conn: Connection, email: str) -> dict[str, Any]:
    """Return the parameters of OF_ADDRESS: the address in lower case, its users, and what their rows contain."""
    key = match_key(email) or email.lower()
    found = conn.execute(
        "SELECT user_id FROM user_addresses WHERE tenant_id = ANY(ARRAY(SELECT id FROM tenants)) AND address = %s",
        (key,),
    ).fetchall()
    users = [user_id for (user_id,) in found]
    spellings = {email.lower(), key}
    return {
        "spellings": sorted(spellings),
        "users": users,
        "hints": [*(f"%{_literally(each)}%" for each in sorted(spellings)), *(f"%{user_id}%" for user_id in users)],
    }


def _literally(text: str) -> str:
    """Return what LIKE finds this text by. A character that JSON may write in another way counts as any text."""
    return "".join("%" if each in '"\\' else f"\\{each}" if each in "%_" else each for each in text)
