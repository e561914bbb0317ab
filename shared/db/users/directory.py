"""The directory that a tenant takes over from Front: teammates as users, and the addresses of shared inboxes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from psycopg.rows import class_row

from shared.models import InboxAddress

if TYPE_CHECKING:
    from shared.db.core.pool import Connection
    from shared.db.users.users import Address


@dataclass(frozen=True, kw_only=True)
class KnownUser:
    """A stored user before a sync with Front; `addresses` are in the form in which addresses are compared.

    `deactivated_by_front`: a sync set the user inactive, so a sync may activate the user again.
    """

    external_id: str
    name: str
    origin: Literal["given", "front"]
    active: bool
    deactivated_by_front: bool
    addresses: list[str]


@dataclass(frozen=True, kw_only=True)
class SyncedUser:
    """A user as Front has it; without an `address_key` the stored addresses stay as they are."""

    external_id: str
    name: str
    active: bool
    address_key: str | None
    address: str | None


def users_to_compare(
    conn: Connection, tenant_id: int, *, external_ids: Sequence[str], address_keys: Sequence[str]
) -> list[KnownUser]:
    """Return the users who came from Front, and all others with one of these external ids or addresses."""
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


def put_synced_users(conn: Connection, tenant_id: int, users: Iterable[SyncedUser]) -> None:
    """Add or change users of Front. Users that the tenant gave, and the action of each user, stay as they are."""
    users = list(users)
    conn.execute(
        """
        INSERT INTO users AS u (tenant_id, external_id, name, active, origin)
        SELECT %s, external_id, name, active, 'front'
        FROM unnest(%s::text[], %s::text[], %s::boolean[]) AS synced(external_id, name, active)
        ON CONFLICT (tenant_id, external_id) DO UPDATE SET name = excluded.name, updated_at = now(),
            active = excluded.active, deactivated_by_front = NOT excluded.active
            WHERE u.origin = 'front'
        """,
        (tenant_id, [u.external_id for u in users], [u.name for u in users], [u.active for u in users]),
    )
    _put_addresses(conn, tenant_id, [user for user in users if user.address_key])


def _put_addresses(conn: Connection, tenant_id: int, users: Sequence[SyncedUser]) -> None:
    """Give each user its one address, even if another user who came from Front has it."""
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
        SELECT u.tenant_id, synced.address, u.id, 1, synced.as_given
        FROM unnest(%s::text[], %s::text[], %s::text[]) AS synced(external_id, address, as_given)
        JOIN users u ON u.tenant_id = %s AND u.external_id = synced.external_id AND u.origin = 'front'
        """,
        (ids, keys, [user.address for user in users], tenant_id),
    )


def inbox_addresses(conn: Connection, tenant_id: int) -> list[InboxAddress]:
    """Return the tenant's inbox addresses, sorted by inbox and address."""
    with conn.cursor(row_factory=class_row(InboxAddress)) as cursor:
        return cursor.execute(
            """
            SELECT i.address AS key, i.as_given AS address, i.inbox_id, i.inbox_name AS inbox, u.external_id AS user,
                u.active AS user_active
            FROM inbox_addresses i LEFT JOIN users u ON u.tenant_id = i.tenant_id AND u.id = i.user_id
            WHERE i.tenant_id = %s ORDER BY i.inbox_name, i.inbox_id, i.address
            """,
            (tenant_id,),
        ).fetchall()


def put_inbox_addresses(conn: Connection, tenant_id: int, addresses: Iterable[InboxAddress]) -> None:
    """Add or change addresses of inboxes. The users mapped to them stay."""
    rows = list(addresses)
    conn.execute(
        """
        INSERT INTO inbox_addresses (tenant_id, address, as_given, inbox_id, inbox_name)
        SELECT %s, * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[])
        ON CONFLICT (tenant_id, address) DO UPDATE SET inbox_id = excluded.inbox_id, inbox_name = excluded.inbox_name
        """,
        (
            tenant_id,
            [each.key for each in rows],
            [each.address for each in rows],
            [each.inbox_id for each in rows],
            [each.inbox for each in rows],
        ),
    )


def remove_inbox_addresses(conn: Connection, tenant_id: int, keys: Sequence[str]) -> int:
    """Delete these addresses; return how many there were."""
    cursor = conn.execute(
        "DELETE FROM inbox_addresses WHERE tenant_id = %s AND address = ANY(%s)", (tenant_id, list(keys))
    )
    return cursor.rowcount


def map_inbox_address(conn: Connection, tenant_id: int, address: Address, user: str | None) -> bool:
    """Map a user, or nobody, to the address, which is added if it is new. False when there is no such user."""
    cursor = conn.execute(
        """
        INSERT INTO inbox_addresses (tenant_id, address, as_given, user_id)
        SELECT %(tenant)s, %(key)s, %(given)s, u.id
        FROM (SELECT 1) AS one LEFT JOIN users u ON u.tenant_id = %(tenant)s AND u.external_id = %(user)s
        WHERE %(user)s::text IS NULL OR u.id IS NOT NULL
        ON CONFLICT (tenant_id, address) DO UPDATE SET user_id = excluded.user_id
        """,
        {"tenant": tenant_id, "key": address.key, "given": address.as_given, "user": user},
    )
    return cursor.rowcount == 1


def default_owner(conn: Connection, tenant_id: int) -> str | None:
    """Return the external id of the user who gets the mail of inboxes without an active user."""
    row = conn.execute(
        "SELECT u.external_id FROM tenants t JOIN users u ON u.tenant_id = t.id AND u.id = t.default_owner "
        "WHERE t.id = %s",
        (tenant_id,),
    ).fetchone()
    return row[0] if row else None


def set_default_owner(conn: Connection, tenant_id: int, user: str | None) -> bool:
    """Make a user, or nobody, the default owner. False when there is no such user."""
    cursor = conn.execute(
        """
        UPDATE tenants t SET default_owner = u.id
        FROM (SELECT 1) AS one LEFT JOIN users u ON u.tenant_id = %(tenant)s AND u.external_id = %(user)s
        WHERE t.id = %(tenant)s AND (%(user)s::text IS NULL OR u.id IS NOT NULL)
        """,
        {"tenant": tenant_id, "user": user},
    )
    return cursor.rowcount == 1
