"""Imports a tenant's users from a list: stages the lines in temporary tables, checks them, and writes them in batches.

The calls come in this order: `create_staging_tables`, `stage`, `remove_repeated_lines`, `remove_taken_addresses`,
`delete_old_addresses`, `write_users`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg.rows import class_row

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from shared.db.core.pool import Connection
    from shared.db.users.users import NewUser


BATCH = 5_000  # lines written by one statement

#: A user whose name or addresses differ from Front's becomes the tenant's own: a sync no longer changes them. The
#: action and `active` do not count, because both the tenant and Front may set them.
CLAIM_USERS = """
    UPDATE users u SET origin = 'given' FROM imported_users i
    WHERE i.line BETWEEN %(start)s AND %(end)s AND u.tenant_id = %(tenant)s AND u.id = i.user_id AND u.origin = 'front'
        AND (u.name <> i.name OR i.outcome = 'changed' OR EXISTS (
            SELECT FROM imported_addresses a WHERE a.line = i.line AND NOT EXISTS (
                SELECT FROM user_addresses o
                WHERE o.tenant_id = u.tenant_id AND o.address = a.address AND o.user_id = u.id)))
"""

CHANGE_USERS = """
    WITH changed AS (
        UPDATE users u SET name = i.name, updated_at = now(),
            action = CASE WHEN %(with_actions)s THEN i.action ELSE u.action END, active = coalesce(i.active, u.active),
            deactivated_by_front = u.deactivated_by_front AND coalesce(i.active, u.active) = u.active
        FROM imported_users i
        WHERE i.line BETWEEN %(start)s AND %(end)s AND u.tenant_id = %(tenant)s AND u.id = i.user_id
            AND (u.name <> i.name OR u.active <> i.active OR %(with_actions)s AND u.action IS DISTINCT FROM i.action)
        RETURNING i.line
    )
    UPDATE imported_users SET outcome = 'changed' WHERE line IN (SELECT line FROM changed)
"""

ADD_USERS = """
    WITH added AS (
        INSERT INTO users (tenant_id, external_id, name, action, active)
        SELECT %(tenant)s, external_id, name, action, coalesce(active, true) FROM imported_users
        WHERE line BETWEEN %(start)s AND %(end)s AND user_id IS NULL
        RETURNING id, external_id
    )
    UPDATE imported_users i SET user_id = added.id, outcome = 'added' FROM added
    WHERE i.line BETWEEN %(start)s AND %(end)s AND i.external_id = added.external_id
"""

PUT_ADDRESSES = """
    WITH put AS (
        INSERT INTO user_addresses AS o (tenant_id, address, user_id, position, as_given)
        SELECT %(tenant)s, a.address, u.user_id, row_number() OVER (PARTITION BY a.line ORDER BY a.position), a.as_given
        FROM imported_addresses a JOIN imported_users u ON u.line = a.line
        WHERE a.line BETWEEN %(start)s AND %(end)s
        ON CONFLICT (tenant_id, address) DO UPDATE SET position = excluded.position, as_given = excluded.as_given
            WHERE o.user_id = excluded.user_id
            AND (o.position, o.as_given) IS DISTINCT FROM (excluded.position, excluded.as_given)
        RETURNING user_id
    )
    UPDATE imported_users SET outcome = 'changed'
    WHERE line BETWEEN %(start)s AND %(end)s AND outcome = 'unchanged' AND user_id IN (SELECT user_id FROM put)
"""


@dataclass(frozen=True, kw_only=True)
class ImportedUser:
    """A valid line of the list."""

    line: int
    user: NewUser


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """A mistake in a line.

    With an `address`, the line is imported without that address. `earlier` is a line with the same external id.
    """

    line: int
    what: str
    address: str | None = None
    earlier: int | None = None


@dataclass(frozen=True, kw_only=True)
class AddressMove:
    """An address that moves from its owner to another user; both are given by their external ids."""

    address: str
    owner: str
    heir: str


def create_staging_tables(conn: Connection) -> None:
    """Create the staging tables, which end with the transaction."""
    conn.execute(
        """
        CREATE TEMPORARY TABLE imported_users (
            line integer PRIMARY KEY, external_id text, name text, action text, active boolean, user_id bigint,
            outcome text NOT NULL DEFAULT 'unchanged'
        ) ON COMMIT DROP;
        CREATE TEMPORARY TABLE imported_addresses (
            line integer, position smallint, address text, as_given text, PRIMARY KEY (line, address)
        ) ON COMMIT DROP;
        """
    )


def stage(conn: Connection, lines: Sequence[ImportedUser]) -> None:
    """Copy lines into the staging tables. The caller gives a bounded number at once."""
    with conn.cursor() as cursor:
        with cursor.copy("COPY imported_users (line, external_id, name, action, active) FROM STDIN") as copy:
            for entry in lines:
                user = entry.user
                copy.write_row((entry.line, user.external_id, user.name, user.action, user.active))
        with cursor.copy("COPY imported_addresses FROM STDIN") as copy:
            for entry in lines:
                for position, address in enumerate(entry.user.addresses, 1):
                    copy.write_row((entry.line, position, address.key, address.as_given))


def remove_repeated_lines(conn: Connection) -> Iterator[Mistake]:
    """Remove the lines with an external id of an earlier line, and yield a mistake for each."""
    conn.execute("ANALYZE imported_users, imported_addresses")
    rows = _stream(
        conn,
        """
        DELETE FROM imported_users u USING (
            SELECT line, min(line) OVER (PARTITION BY external_id) AS earlier FROM imported_users
        ) first
        WHERE first.line = u.line AND first.earlier < u.line RETURNING u.line, u.external_id, first.earlier
        """,
    )
    for line, external_id, earlier in rows:
        yield Mistake(line=line, what=repeated(external_id, earlier), earlier=earlier)
    conn.execute(
        "DELETE FROM imported_addresses a WHERE NOT EXISTS (SELECT FROM imported_users u WHERE u.line = a.line)"
    )


def repeated(external_id: str, earlier: int) -> str:
    """Say that the user of a line stands on an earlier line."""
    return f"external_id {external_id!r} stands on line {earlier} already"


def remove_taken_addresses(conn: Connection, tenant_id: int, *, move: bool = False) -> Iterator[Mistake]:
    """Remove the addresses that belong to somebody else, and yield a mistake for each; the rest of the lines stays.

    A stored address stays with its user, unless the list names that user without it. With `move`, addresses also leave
    users whom the list does not name. A new address goes to the first line with it.
    """
    conn.execute(
        "UPDATE imported_users i SET user_id = u.id FROM users u "
        "WHERE u.tenant_id = %s AND u.external_id = i.external_id",
        (tenant_id,),
    )
    rows = _stream(
        conn,
        """
        WITH claims AS (
            SELECT a.line, a.address, o.user_id AS owner_id, h.external_id AS owner,
                o.user_id IS NOT NULL AND NOT %(move)s
                    AND NOT EXISTS (SELECT FROM imported_users x WHERE x.user_id = o.user_id) AS stays,
                first_value(u.external_id) OVER claim AS winner, row_number() OVER claim AS place
            FROM imported_addresses a JOIN imported_users u ON u.line = a.line
            LEFT JOIN user_addresses o ON o.tenant_id = %(tenant)s AND o.address = a.address
            LEFT JOIN users h ON h.tenant_id = %(tenant)s AND h.id = o.user_id
            WINDOW claim AS (PARTITION BY a.address ORDER BY (o.user_id = u.user_id) IS TRUE DESC, a.line)
        )
        DELETE FROM imported_addresses a USING claims c
        WHERE c.line = a.line AND c.address = a.address AND (c.stays OR c.place > 1)
        RETURNING a.line, a.as_given, CASE WHEN c.stays THEN c.owner ELSE c.winner END
        """,
        {"tenant": tenant_id, "move": move},
    )
    for line, address, owner in rows:
        yield Mistake(line=line, what=f"{address} belongs to user {owner!r}", address=address)


def moves(conn: Connection, tenant_id: int) -> Iterator[AddressMove]:
    """Yield the stored addresses that will move to another user, in the order of the list.

    The connection takes no other statement before the last row.
    """
    query = """
        SELECT a.as_given AS address, h.external_id AS owner, u.external_id AS heir
        FROM imported_addresses a JOIN imported_users u ON u.line = a.line
        JOIN user_addresses o ON o.tenant_id = %(tenant)s AND o.address = a.address
        JOIN users h ON h.tenant_id = o.tenant_id AND h.id = o.user_id
        WHERE o.user_id IS DISTINCT FROM u.user_id ORDER BY a.line, a.position
    """
    with conn.cursor(row_factory=class_row(AddressMove)) as cursor:
        yield from cursor.stream(query, {"tenant": tenant_id})


def delete_old_addresses(conn: Connection, tenant_id: int) -> None:
    """Delete addresses of listed users that their lines no longer name, and addresses of others that will move."""
    conn.execute(
        """
        WITH deleted AS (
            DELETE FROM user_addresses o USING imported_users u
            WHERE o.tenant_id = %s AND o.user_id = u.user_id AND NOT EXISTS (
                SELECT FROM imported_addresses a WHERE a.line = u.line AND a.address = o.address)
            RETURNING u.line
        )
        UPDATE imported_users SET outcome = 'changed' WHERE line IN (SELECT line FROM deleted)
        """,
        (tenant_id,),
    )
    conn.execute(
        """
        DELETE FROM user_addresses o USING imported_addresses a JOIN imported_users u ON u.line = a.line
        WHERE o.tenant_id = %s AND o.address = a.address AND o.user_id IS DISTINCT FROM u.user_id
        """,
        (tenant_id,),
    )


def count_lines(conn: Connection) -> int:
    """Return the number of lines that `write_users` covers."""
    first, last = _line_numbers(conn)
    return last - first + 1


def write_users(conn: Connection, tenant_id: int, *, with_actions: bool) -> Iterator[int]:
    """Add and change the users in batches; yield the number of lines after each batch.

    Without `with_actions` users keep their action.
    """
    first, last = _line_numbers(conn)
    for start in range(first, last + 1, BATCH):
        part = {"tenant": tenant_id, "start": start, "end": start + BATCH - 1, "with_actions": with_actions}
        conn.execute(CLAIM_USERS, part)
        conn.execute(CHANGE_USERS, part)
        conn.execute(ADD_USERS, part)
        conn.execute(PUT_ADDRESSES, part)
        yield min(BATCH, last - start + 1)


def count_outcomes(conn: Connection) -> dict[str, int]:
    """Count the users that were added, changed and left unchanged."""
    return dict(conn.execute("SELECT outcome, count(*) FROM imported_users GROUP BY outcome").fetchall())


def deactivate_others(conn: Connection, tenant_id: int, *, but: Sequence[str]) -> int:
    """Deactivate the users who were not imported and have none of these external ids; return their number.

    Users who came from Front stay as they are, because only a sync deactivates them.
    """
    cursor = conn.execute(
        """
        UPDATE users u SET active = false, updated_at = now()
        WHERE u.tenant_id = %s AND u.active AND u.origin = 'given' AND u.external_id <> ALL(%s)
            AND NOT EXISTS (SELECT FROM imported_users i WHERE i.user_id = u.id)
        """,
        (tenant_id, list(but)),
    )
    return cursor.rowcount


def _stream(conn: Connection, query: str, values: dict[str, Any] | None = None) -> Iterator[tuple[Any, ...]]:
    """Yield the rows one by one. The connection takes no other statement before the last row."""
    with conn.cursor() as cursor:
        yield from cursor.stream(query.encode(), values)


def _line_numbers(conn: Connection) -> tuple[int, int]:
    rows = conn.execute("SELECT min(line), max(line) FROM imported_users HAVING count(*) > 0").fetchall()
    return rows[0] if rows else (1, 0)
