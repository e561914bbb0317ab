"""Users that came from Front's list of teammates: what is known of them, and what is changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from psycopg.rows import class_row

if TYPE_CHECKING:
    from shared.db.pool import Connection


@dataclass(frozen=True, kw_only=True)
class KnownUser:
    """A user as a sync with Front finds one; `addresses` in the form they are compared in.

    `deactivated_by_front`: it was a sync that set the user inactive, so that a sync may take it back.
    """

    external_id: str
    name: str
    origin: Literal["given", "front"]
    active: bool
    deactivated_by_front: bool
    addresses: list[str]


@dataclass(frozen=True, kw_only=True)
class SyncedUser:
    """A user as Front has one; without an `address_key` the addresses stay as they are."""

    external_id: str
    name: str
    active: bool
    address_key: str | None
    address: str | None


def concerned(
    conn: Connection, tenant_id: int, *, external_ids: Sequence[str], address_keys: Sequence[str]
) -> list[KnownUser]:
    """Everybody who came from Front, and who else has one of these external ids or addresses."""
    with conn.cursor(row_factory=class_row(KnownUser)) as cursor:
        return cursor.execute(
            """
            SELECT u.external_id, u.name, u.origin, u.active, u.deactivated_by_front, ARRAY(
                SELECT a.address FROM user_addresses a WHERE a.tenant_id = u.tenant_id AND a.user_id = u.id
                ORDER BY a.position
            ) AS addresses
            FROM users u
            WHERE u.tenant_id = %(tenant)s AND (
                u.origin = 'front' OR u.external_id = ANY(%(ids)s) OR u.id IN (
                    SELECT a.user_id FROM user_addresses a
                    WHERE a.tenant_id = %(tenant)s AND a.address = ANY(%(keys)s)))
            ORDER BY u.external_id
            """,
            {"tenant": tenant_id, "ids": list(external_ids), "keys": list(address_keys)},
        ).fetchall()


def put(conn: Connection, tenant_id: int, users: Iterable[SyncedUser]) -> None:
    """Make or change these users; given users, and everybody's own action, stay as they are."""
    users = list(users)
    conn.execute(
        """
        INSERT INTO users AS u (tenant_id, external_id, name, active, origin)
        SELECT %s, external_id, name, active, 'front'
        FROM unnest(%s::text[], %s::text[], %s::boolean[]) AS wanted(external_id, name, active)
        ON CONFLICT (tenant_id, external_id) DO UPDATE SET name = excluded.name, updated_at = now(),
            active = excluded.active, deactivated_by_front = NOT excluded.active
            WHERE u.origin = 'front'
        """,
        (tenant_id, [u.external_id for u in users], [u.name for u in users], [u.active for u in users]),
    )
    _put_addresses(conn, tenant_id, [user for user in users if user.address_key])


def _put_addresses(conn: Connection, tenant_id: int, users: Sequence[SyncedUser]) -> None:
    """Each of them gets its one address, also from another user who came from Front."""
    ids, keys = [user.external_id for user in users], [user.address_key for user in users]
    conn.execute(
        """
        DELETE FROM user_addresses a USING users u
        WHERE u.tenant_id = %s AND u.origin = 'front' AND a.tenant_id = u.tenant_id AND a.user_id = u.id
            AND (u.external_id = ANY(%s) OR a.address = ANY(%s))
        """,
        (tenant_id, ids, keys),
    )
    conn.execute(
        """
        INSERT INTO user_addresses (tenant_id, address, user_id, position, as_given)
        SELECT u.tenant_id, wanted.address, u.id, 1, wanted.as_given
        FROM unnest(%s::text[], %s::text[], %s::text[]) AS wanted(external_id, address, as_given)
        JOIN users u ON u.tenant_id = %s AND u.external_id = wanted.external_id AND u.origin = 'front'
        """,
        (ids, keys, [user.address for user in users], tenant_id),
    )
