"""The endpoints of the host application: added, changed, held and released, and as people see them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal

from psycopg.rows import class_row

from shared.db.core.pool import Connection
from shared.db.host import outbox
from shared.errors import MailroomError
from shared.host.notification import FILE_TYPES, Include
from shared.models import MOST_COUNTED

HeldCause = Literal["failures", "gone", "disabled", "person"]
#: What may have failed while its endpoint did not answer. It is due again when the endpoint is released.
_HELD_BACK: Final = "endpoint_unavailable"
#: So many notifications are made due at a release; what waited is more, and due already.
_MOST_HELD_BACK: Final = 10_000

_COLUMNS = f"""
    SELECT e.id, e.tenant_id, t.name AS tenant, e.name, e.url, e.types, e.include, e.state, e.held_cause, e.held_at,
        e.failures, e.failing_since, e.last_failure, nullif(e.not_before, '-infinity') AS not_before, e.probe_at,
        e.last_success_at, e.last_seconds, e.created_at, CASE WHEN e.previous_until > now() THEN e.previous_until END
            AS previous_until,
        (SELECT count(*) FROM (SELECT FROM tasks k WHERE k.endpoint_id = e.id AND k.kind = 'notify'
                               AND k.state IN ('ready', 'queued', 'running') LIMIT {MOST_COUNTED + 1}) w) AS waiting,
        (SELECT min(k.created_at) FROM (SELECT created_at FROM tasks WHERE endpoint_id = e.id AND kind = 'notify'
                                        AND state = 'ready' ORDER BY due_at LIMIT 1) k) AS oldest_at
    FROM endpoints e LEFT JOIN tenants t ON t.id = e.tenant_id
"""  # noqa: S608 -- a number of ours


class EndpointTaken(MailroomError):
    """An endpoint has the name already."""

    code = "endpoint_taken"


@dataclass(frozen=True, kw_only=True)
class NewEndpoint:
    """An endpoint to be added. `tenant_id`: whose notifications it gets, None for those of all; `types`: None for all.

    All types are those about messages, tenants and endpoints; the types about a single file must be named.
    """

    name: str
    url: str = field(repr=False)
    tenant_id: int | None = None
    types: Sequence[str] | None = None
    include: Include = "text"


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """An endpoint as people see it. `failures` counts those in a row, and `last_failure` says what the last one was.

    `waiting` counts what is still to be sent, up to one more than MOST_COUNTED; `oldest_at` is when the first of it was
    noted. `previous_until`: until then the secret before the last rotation signs, too.
    """

    id: int
    tenant_id: int | None
    tenant: str | None
    name: str
    url: str
    types: list[str] | None
    include: Include
    state: Literal["open", "held"]
    held_cause: HeldCause | None
    held_at: datetime | None
    failures: int
    failing_since: datetime | None
    last_failure: str | None
    not_before: datetime | None
    probe_at: datetime | None
    last_success_at: datetime | None
    last_seconds: float | None
    created_at: datetime
    previous_until: datetime | None
    waiting: int
    oldest_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class HeldEndpoint:
    """An endpoint that has been held so long that people are told again; `alarm` counts from 1."""

    id: int
    name: str
    tenant_id: int | None
    cause: str
    held_seconds: float
    alarm: int


@dataclass(frozen=True, kw_only=True)
class SealedEndpointSecret:
    """A stored secret of an endpoint."""

    endpoint_id: int
    name: str
    secret: bytes


def next_id(conn: Connection) -> int:
    """Return the id of an endpoint to be added, to which its secret is bound."""
    row = conn.execute("SELECT nextval(pg_get_serial_sequence('endpoints', 'id'))").fetchone()
    assert row is not None  # noqa: S101 -- a function gives one row
    return int(row[0])


def add(conn: Connection, endpoint_id: int, new: NewEndpoint, *, sealed: bytes) -> None:
    """Add an endpoint, which gets all that is noted from now on. Raises EndpointTaken."""
    added = conn.execute(
        """
        INSERT INTO endpoints (id, tenant_id, name, url, types, include, secret) OVERRIDING SYSTEM VALUE
        VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (name) DO NOTHING
        """,
        (endpoint_id, new.tenant_id, new.name, new.url, new.types and list(new.types), new.include, sealed),
    )
    if not added.rowcount:
        raise EndpointTaken(f"there is an endpoint {new.name!r} already; names are unique")
    _note_file_types(conn)


def remove(conn: Connection, endpoint_id: int) -> bool:
    """Remove an endpoint and all that it was to get, or got. False when it is gone already."""
    removed = conn.execute("DELETE FROM endpoints WHERE id = %s", (endpoint_id,)).rowcount == 1
    _note_file_types(conn)
    return removed


def get(conn: Connection, endpoint_id: int) -> Endpoint | None:
    """Return an endpoint."""
    return _one(conn, "WHERE e.id = %s", endpoint_id)


def find(conn: Connection, name: str) -> Endpoint | None:
    """Return the endpoint with this name."""
    return _one(conn, "WHERE e.name = %s", name)


def listed(conn: Connection, *, tenant_id: int | None = None, after_id: int = 0, limit: int = 1_000) -> list[Endpoint]:
    """Return the endpoints by id; only those of one tenant, if it is named."""
    with conn.cursor(row_factory=class_row(Endpoint)) as cursor:
        return cursor.execute(
            f"{_COLUMNS} WHERE e.id > %(after)s AND (%(tenant)s::bigint IS NULL OR e.tenant_id = %(tenant)s)"
            " ORDER BY e.id LIMIT %(limit)s".encode(),
            {"after": after_id, "tenant": tenant_id, "limit": limit},
        ).fetchall()


def held(conn: Connection) -> list[Endpoint]:
    """Return the endpoints that are held, the one that waits longest first."""
    with conn.cursor(row_factory=class_row(Endpoint)) as cursor:
        return cursor.execute(f"{_COLUMNS} WHERE e.state = 'held' ORDER BY e.held_at, e.id".encode()).fetchall()


def has_any(conn: Connection) -> bool:
    """Whether there is any endpoint. Needs no transaction."""
    row = conn.execute("SELECT EXISTS (SELECT FROM endpoints)").fetchone()
    return bool(row and row[0])


def step_urls(conn: Connection) -> list[str]:
    """Return what stands in place of the URL of the endpoints that are steps."""
    return [url for (url,) in conn.execute("SELECT DISTINCT url FROM endpoints WHERE url LIKE 'step:%' ORDER BY url")]


def lock(conn: Connection, endpoint_id: int) -> Endpoint | None:
    """Return an endpoint, and keep others from changing it until the transaction ends."""
    conn.execute("SELECT FROM endpoints WHERE id = %s FOR NO KEY UPDATE", (endpoint_id,))
    return get(conn, endpoint_id)


def set_secret(conn: Connection, endpoint_id: int, *, sealed: bytes, previous_valid_for: timedelta) -> None:
    """Give the endpoint another secret; the one before signs as well for so long."""
    conn.execute(
        "UPDATE endpoints SET previous_secret = secret, previous_until = now() + %s, secret = %s WHERE id = %s",
        (previous_valid_for, sealed, endpoint_id),
    )


def hold(conn: Connection, endpoint_id: int, cause: HeldCause) -> bool:
    """Hold an endpoint: its notifications wait. False when it is held already.

    The feed and all other endpoints are told of it.
    """
    row = conn.execute(
        """
        UPDATE endpoints SET state = 'held', held_cause = %(cause)s, held_at = now(), alarms = 0, probe_task_id = NULL
        WHERE id = %(id)s AND state = 'open' RETURNING name, tenant_id
        """,
        {"id": endpoint_id, "cause": cause},
    ).fetchone()
    if row is None:
        return False
    name, tenant_id = row
    facts = {"endpoint_id": endpoint_id, "endpoint": name, "cause": cause}
    outbox.add(conn, "endpoint.held", tenant_id=tenant_id, facts=facts)
    return True


def hold_for_good(conn: Connection, endpoint_id: int, cause: HeldCause) -> bool:
    """Hold an endpoint until a person releases it, also when it is held for its failures. False when it was already."""
    if hold(conn, endpoint_id, cause):
        return True
    changed = conn.execute(
        "UPDATE endpoints SET held_cause = %s, probe_at = NULL, probe_task_id = NULL"
        " WHERE id = %s AND held_cause = 'failures'",
        (cause, endpoint_id),
    )
    return changed.rowcount == 1


def release(conn: Connection, endpoint_id: int) -> bool:
    """Open a held endpoint again: what waits is sent, the oldest first, slowly in the beginning. False if it is open.

    What it did not answer is due again, too.
    """
    released = conn.execute(
        """
        UPDATE endpoints SET state = 'open', held_cause = NULL, held_at = NULL, probe_at = NULL, probe_task_id = NULL,
               failures = 0, failing_since = NULL, last_failure = NULL, not_before = now(), released_at = now(),
               alarms = 0
        WHERE id = %s AND state = 'held'
        """,
        (endpoint_id,),
    )
    if not released.rowcount:
        return False
    conn.execute(
        """
        UPDATE tasks SET due_at = created_at WHERE id = ANY(ARRAY(
            SELECT id FROM tasks WHERE endpoint_id = %s AND state = 'ready' AND kind = 'notify' AND due_at > now()
            AND code = %s ORDER BY due_at LIMIT %s FOR UPDATE SKIP LOCKED))
        """,
        (endpoint_id, _HELD_BACK, _MOST_HELD_BACK),
    )
    return True


def release_if_failing(conn: Connection, endpoint_id: int) -> bool:
    """Open an endpoint that was held for its failures: it answers again. False when it is held for another cause."""
    row = conn.execute("SELECT held_cause = 'failures' FROM endpoints WHERE id = %s FOR NO KEY UPDATE", (endpoint_id,))
    found = row.fetchone()
    return bool(found and found[0]) and release(conn, endpoint_id)


def secret_owner(endpoint_id: int) -> str:
    """Return the owner to whom the token vault binds the secrets of an endpoint."""
    return f"endpoint {endpoint_id}"


def sealed_secrets(conn: Connection) -> list[SealedEndpointSecret]:
    """Return all secrets that are stored, also those before the last rotation."""
    with conn.cursor(row_factory=class_row(SealedEndpointSecret)) as cursor:
        return cursor.execute(
            """
            SELECT id AS endpoint_id, name, secret FROM endpoints
            UNION ALL SELECT id, name, previous_secret FROM endpoints WHERE previous_secret IS NOT NULL ORDER BY 1
            """
        ).fetchall()


def replace_sealed(conn: Connection, old: SealedEndpointSecret, new: bytes) -> bool:
    """Store a secret as it is sealed now, if the endpoint still has exactly the old one."""
    replaced = conn.execute(
        """
        UPDATE endpoints SET secret = CASE secret WHEN %(old)s THEN %(new)s ELSE secret END,
               previous_secret = CASE previous_secret WHEN %(old)s THEN %(new)s ELSE previous_secret END
        WHERE id = %(id)s AND %(old)s IN (secret, previous_secret)
        """,
        {"id": old.endpoint_id, "old": old.secret, "new": new},
    )
    return replaced.rowcount == 1


def add_test(conn: Connection, endpoint: Endpoint) -> None:
    """Note a `ping`, which goes to this endpoint alone, and at once."""
    facts = {"endpoint_id": endpoint.id, "endpoint": endpoint.name}
    outbox.add(conn, "ping", tenant_id=endpoint.tenant_id, facts=facts)


def latest_test(conn: Connection, endpoint_id: int) -> int | None:
    """Return the number of the task that sends, or sent, the latest test of the endpoint."""
    row = conn.execute(
        """
        SELECT t.id FROM tasks t JOIN notifications n ON n.position = t.position
        WHERE t.endpoint_id = %s AND t.kind = 'notify' AND n.type = 'ping' ORDER BY t.id DESC LIMIT 1
        """,
        (endpoint_id,),
    ).fetchone()
    return int(row[0]) if row else None


def due_alarms(conn: Connection, ages: Sequence[float]) -> list[HeldEndpoint]:
    """Return the endpoints that are held for longer than the next of these ages, in seconds, and count the alarm."""
    with conn.cursor(row_factory=class_row(HeldEndpoint)) as cursor:
        return cursor.execute(
            """
            UPDATE endpoints SET alarms = alarms + 1
            WHERE state = 'held' AND held_cause <> 'person' AND alarms < cardinality(%(ages)s::float8[])
              AND held_at < now() - make_interval(secs => (%(ages)s::float8[])[alarms + 1])
            RETURNING id, name, tenant_id, held_cause AS cause, alarms AS alarm,
                      extract(epoch FROM now() - held_at)::float8 AS held_seconds
            """,
            {"ages": list(ages)},
        ).fetchall()


def _one(conn: Connection, condition: str, value: object) -> Endpoint | None:
    with conn.cursor(row_factory=class_row(Endpoint)) as cursor:
        return cursor.execute(f"{_COLUMNS} {condition}".encode(), (value,)).fetchone()


def _note_file_types(conn: Connection) -> None:
    """Have notifications about single files noted only while an endpoint names their type."""
    conn.execute(
        """
        UPDATE feed_state SET file_types = ARRAY(
            SELECT DISTINCT type FROM endpoints CROSS JOIN unnest(types) AS named(type)
            WHERE type = ANY(%s) ORDER BY 1)
        """,
        (list(FILE_TYPES),),
    )
