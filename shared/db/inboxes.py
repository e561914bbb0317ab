"""Addresses of shared inboxes, who stands for each, and the tenant's default owner."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from psycopg.rows import class_row

from shared.inbox_address import InboxAddress

if TYPE_CHECKING:
    from shared.db.pool import Connection
    from shared.db.users import Address


def of_tenant(conn: Connection, tenant_id: int) -> list[InboxAddress]:
    """All of the tenant's, by inbox and address."""
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


def put(conn: Connection, tenant_id: int, addresses: Iterable[InboxAddress]) -> None:
    """Make these addresses those of their inboxes; whoever is mapped to one stays so."""
    found = list(addresses)
    conn.execute(
        """
        INSERT INTO inbox_addresses (tenant_id, address, as_given, inbox_id, inbox_name)
        SELECT %s, * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[])
        ON CONFLICT (tenant_id, address) DO UPDATE SET inbox_id = excluded.inbox_id, inbox_name = excluded.inbox_name
        """,
        (
            tenant_id,
            [each.key for each in found],
            [each.address for each in found],
            [each.inbox_id for each in found],
            [each.inbox for each in found],
        ),
    )


def remove(conn: Connection, tenant_id: int, keys: Sequence[str]) -> int:
    """Forget these addresses; how many there were."""
    cursor = conn.execute(
        "DELETE FROM inbox_addresses WHERE tenant_id = %s AND address = ANY(%s)", (tenant_id, list(keys))
    )
    return cursor.rowcount


def map_to(conn: Connection, tenant_id: int, address: Address, user: str | None) -> bool:
    """Have this user, or nobody, stand for the address, known or not; False when there is no such user."""
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
    """The external id of who stands for the inboxes that nobody active is mapped to."""
    row = conn.execute(
        "SELECT u.external_id FROM tenants t JOIN users u ON u.tenant_id = t.id AND u.id = t.default_owner "
        "WHERE t.id = %s",
        (tenant_id,),
    ).fetchone()
    return row[0] if row else None


def set_default_owner(conn: Connection, tenant_id: int, user: str | None) -> bool:
    """Make this user, or nobody, the default owner; False when there is no such user."""
    cursor = conn.execute(
        """
        UPDATE tenants t SET default_owner = u.id
        FROM (SELECT 1) AS one LEFT JOIN users u ON u.tenant_id = %(tenant)s AND u.external_id = %(user)s
        WHERE t.id = %(tenant)s AND (%(user)s::text IS NULL OR u.id IS NOT NULL)
        """,
        {"tenant": tenant_id, "user": user},
    )
    return cursor.rowcount == 1
