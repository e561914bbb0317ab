"""Users: the people of a tenant, and the addresses they are matched by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg.rows import class_row

from shared.errors import MailroomError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.db.pool import Connection


class UserTaken(MailroomError):
    """The external id or an address already belongs to a user of this tenant."""

    code = "user_taken"


@dataclass(frozen=True, kw_only=True)
class Address:
    """An address in the form it is compared in, and as it was given."""

    key: str
    as_given: str


@dataclass(frozen=True, kw_only=True)
class NewUser:
    """A user as somebody describes one; without an `action` the tenant's applies."""

    external_id: str
    name: str
    action: str | None
    addresses: tuple[Address, ...]


@dataclass(frozen=True, kw_only=True)
class User:
    """A user with the addresses as they were given, in order."""

    external_id: str
    name: str
    action: str | None
    active: bool
    addresses: list[str]


def hold(conn: Connection, tenant_id: int) -> None:
    """Keep everybody else from changing this tenant's users until the transaction ends; reading goes on."""
    conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('users', %s))", (tenant_id,))


def add(conn: Connection, tenant_id: int, user: NewUser) -> None:
    """Make one user. Raises UserTaken, naming who has the external id or an address."""
    hold(conn, tenant_id)
    row = conn.execute(
        "INSERT INTO users (tenant_id, external_id, name, action) VALUES (%s, %s, %s, %s) "
        "ON CONFLICT (tenant_id, external_id) DO NOTHING RETURNING id",
        (tenant_id, user.external_id, user.name, user.action),
    ).fetchone()
    if row is None:
        raise UserTaken(f"there is a user {user.external_id!r} already; `mailroom user import` changes users")
    if owned := _owned(conn, tenant_id, user.addresses):
        raise UserTaken("; ".join(f"{address} belongs to user {owner!r}" for owner, address in owned))
    with conn.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO user_addresses (tenant_id, user_id, address, as_given, position) VALUES (%s, %s, %s, %s, %s)",
            [(tenant_id, row[0], a.key, a.as_given, position) for position, a in enumerate(user.addresses, 1)],
        )


def of_tenant(conn: Connection, tenant_id: int, *, limit: int) -> list[User]:
    """The tenant's first users by external id."""
    with conn.cursor(row_factory=class_row(User)) as cursor:
        return cursor.execute(
            """
            SELECT u.external_id, u.name, u.action, u.active, ARRAY(
                SELECT a.as_given FROM user_addresses a
                WHERE a.tenant_id = u.tenant_id AND a.user_id = u.id ORDER BY a.position
            ) AS addresses
            FROM users u WHERE u.tenant_id = %s ORDER BY u.external_id LIMIT %s
            """,
            (tenant_id, limit),
        ).fetchall()


def _owned(conn: Connection, tenant_id: int, addresses: Sequence[Address]) -> list[tuple[str, str]]:
    """Which of these addresses somebody has: the owner's external id and the address."""
    return conn.execute(
        """
        SELECT u.external_id, a.as_given
        FROM user_addresses a JOIN users u ON u.tenant_id = a.tenant_id AND u.id = a.user_id
        WHERE a.tenant_id = %s AND a.address = ANY(%s)
        """,
        (tenant_id, [address.key for address in addresses]),
    ).fetchall()
