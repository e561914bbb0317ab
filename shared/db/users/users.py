"""Users: the people of a tenant, and the addresses by which recipients are matched with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import sql
from psycopg.rows import class_row

from shared.addresses import match_key
from shared.errors import MailroomError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.db.core.pool import Connection


class UserTaken(MailroomError):
    """A user of this tenant has the external id or an address already."""

    code = "user_taken"


@dataclass(frozen=True, kw_only=True)
class Address:
    """An address as it was given, and its `key`: the form in which addresses are compared."""

    key: str
    as_given: str


@dataclass(frozen=True, kw_only=True)
class NewUser:
    """The values of a user to add or change.

    Without an `action` the tenant's action applies. Without `active` a user stays as it is; a new one is active.
    """

    external_id: str
    name: str
    action: str | None
    addresses: tuple[Address, ...]
    active: bool | None = None


@dataclass(frozen=True, kw_only=True)
class User:
    """A user, with the addresses as they were given, in order."""

    external_id: str
    name: str
    action: str | None
    active: bool
    addresses: list[str]


USERS = """
    SELECT u.external_id, u.name, u.action, u.active, ARRAY(
        SELECT a.as_given FROM user_addresses a
        WHERE a.tenant_id = u.tenant_id AND a.user_id = u.id ORDER BY a.position
    ) AS addresses
    FROM users u WHERE u.tenant_id = %(tenant)s
"""

PAGE = """
    AND u.external_id > %(after)s AND (%(active)s::boolean IS NULL OR u.active = %(active)s)
    AND (%(key)s::text IS NULL OR u.id = (
        SELECT a.user_id FROM user_addresses a WHERE a.tenant_id = %(tenant)s AND a.address = %(key)s))
    ORDER BY u.external_id LIMIT %(limit)s
"""

#: Addresses whose key is not simply their lower case. Only these have had another key in an earlier release.
RARE_ADDRESSES = """
    SELECT address, as_given FROM {table}
    WHERE tenant_id = %s AND (as_given !~ '^[A-Za-z0-9._%%+-]+@[A-Za-z0-9.-]*[A-Za-z0-9-]$' OR as_given ~* 'xn--')
    ORDER BY address
"""

CHANGE_KEYS = """
    UPDATE {table} a SET address = changed.new FROM unnest(%(old)s::text[], %(new)s::text[]) AS changed(old, new)
    WHERE a.tenant_id = %(tenant)s AND a.address = changed.old
        AND NOT EXISTS (SELECT FROM {table} taken WHERE taken.tenant_id = %(tenant)s AND taken.address = changed.new)
    RETURNING changed.old
"""

TWINS = """
    SELECT t.name AS tenant, {owner_of_twin} AS owner, {owner_of_holder} AS holder
    FROM unnest(%(old)s::text[], %(new)s::text[]) AS changed(old, new)
    JOIN {table} twin ON twin.tenant_id = %(tenant)s AND twin.address = changed.old
    JOIN {table} holder ON holder.tenant_id = %(tenant)s AND holder.address = changed.new
    JOIN tenants t ON t.id = %(tenant)s
    ORDER BY owner, holder
"""
OWNER = {
    "user_addresses": "(SELECT 'user ' || external_id FROM users WHERE tenant_id = {a}.tenant_id AND id = {a}.user_id)",
    "inbox_addresses": "concat('inbox ', coalesce({a}.inbox_name, 'named by a person'))",
}


def lock(conn: Connection, tenant_id: int) -> None:
    """Lock this tenant's users against changes by others until the transaction ends. Reading goes on."""
    conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('users', %s))", (tenant_id,))


def add(conn: Connection, tenant_id: int, user: NewUser) -> None:
    """Add a user. Raises UserTaken, which names the user who has the external id or an address."""
    lock(conn, tenant_id)
    row = conn.execute(
        "INSERT INTO users (tenant_id, external_id, name, action, active) VALUES (%s, %s, %s, %s, coalesce(%s, true)) "
        "ON CONFLICT (tenant_id, external_id) DO NOTHING RETURNING id",
        (tenant_id, user.external_id, user.name, user.action, user.active),
    ).fetchone()
    if row is None:
        raise UserTaken(f"there is a user {user.external_id!r} already; `mailroom user import` changes users")
    if owned := _owners(conn, tenant_id, user.addresses):
        raise UserTaken("; ".join(f"{address} belongs to user {owner!r}" for owner, address in owned))
    with conn.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO user_addresses (tenant_id, user_id, address, as_given, position) VALUES (%s, %s, %s, %s, %s)",
            [(tenant_id, row[0], a.key, a.as_given, position) for position, a in enumerate(user.addresses, 1)],
        )


def page(  # noqa: PLR0913 -- a filter each
    conn: Connection,
    tenant_id: int,
    *,
    limit: int,
    after: str = "",
    active: bool | None = None,
    key: str | None = None,
) -> list[User]:
    """Return the tenant's next users after this external id, sorted by it.

    `active` selects the active or the inactive users. `key` selects the owner of an address, in the form in which
    addresses are compared.
    """
    with conn.cursor(row_factory=class_row(User)) as cursor:
        return cursor.execute(
            sql.SQL(USERS) + sql.SQL(PAGE),
            {"tenant": tenant_id, "after": after, "active": active, "key": key, "limit": limit},
        ).fetchall()


def find(conn: Connection, tenant_id: int, external_id: str) -> User | None:
    """Return the user with this external id."""
    with conn.cursor(row_factory=class_row(User)) as cursor:
        return cursor.execute(
            sql.SQL(USERS) + sql.SQL("AND u.external_id = %(id)s"), {"tenant": tenant_id, "id": external_id}
        ).fetchone()


def deactivate(conn: Connection, tenant_id: int, external_id: str) -> bool:
    """Match no recipient with this user any more; earlier matches stay. False if there is no such user."""
    return _set_active(conn, tenant_id, external_id, active=False)


def activate(conn: Connection, tenant_id: int, external_id: str) -> bool:
    """Match recipients with this user again. False if there is no such user."""
    return _set_active(conn, tenant_id, external_id, active=True)


def set_action(conn: Connection, tenant_id: int, external_id: str, action: str | None) -> bool:
    """Set the user's action; None means the tenant's action. False if there is no such user."""
    cursor = conn.execute(
        "UPDATE users SET action = %s, updated_at = now() WHERE tenant_id = %s AND external_id = %s",
        (action, tenant_id, external_id),
    )
    return cursor.rowcount == 1


def erase(conn: Connection, tenant_id: int, external_id: str) -> bool:
    """Delete a user with the addresses. False if there is no such user."""
    cursor = conn.execute("DELETE FROM users WHERE tenant_id = %s AND external_id = %s", (tenant_id, external_id))
    return cursor.rowcount == 1


def _set_active(conn: Connection, tenant_id: int, external_id: str, *, active: bool) -> bool:
    """Record a person's decision, which a sync with Front does not take back."""
    cursor = conn.execute(
        "UPDATE users SET updated_at = CASE WHEN active <> %(active)s THEN now() ELSE updated_at END, "
        "active = %(active)s, deactivated_by_front = false WHERE tenant_id = %(tenant)s AND external_id = %(id)s",
        {"active": active, "tenant": tenant_id, "id": external_id},
    )
    return cursor.rowcount == 1


def _owners(conn: Connection, tenant_id: int, addresses: Sequence[Address]) -> list[tuple[str, str]]:
    """Return the owners of these addresses, as (external id, address), where an address has one."""
    return conn.execute(
        """
        SELECT u.external_id, a.as_given
        FROM user_addresses a JOIN users u ON u.tenant_id = a.tenant_id AND u.id = a.user_id
        WHERE a.tenant_id = %s AND a.address = ANY(%s)
        """,
        (tenant_id, [address.key for address in addresses]),
    ).fetchall()


@dataclass(frozen=True, kw_only=True)
class TwinAddress:
    """An address that is another spelling of the holder's; it keeps its old key and gets no mail."""

    tenant: str
    owner: str
    holder: str


def rekey_addresses(conn: Connection) -> list[TwinAddress]:
    """Give each stored address the key of this release; return the addresses whose key another address has.

    A tenant's addresses change in one transaction. A second call changes nothing more.
    """
    tenants = conn.execute("SELECT id FROM tenants ORDER BY id").fetchall()
    return [twin for (tenant_id,) in tenants for table in OWNER for twin in _rekey_tenant(conn, tenant_id, table)]


def _rekey_tenant(conn: Connection, tenant_id: int, table: str) -> list[TwinAddress]:
    with conn.transaction():
        lock(conn, tenant_id)
        left = _change_keys(conn, tenant_id, table)
        if not left:
            return []
        owners = {f"owner_of_{each}": sql.SQL(OWNER[table].format(a=each)) for each in ("twin", "holder")}
        query = sql.SQL(TWINS).format(table=sql.Identifier(table), **owners)
        with conn.cursor(row_factory=class_row(TwinAddress)) as cursor:
            return cursor.execute(query, _keys_of(tenant_id, left)).fetchall()


def _change_keys(conn: Connection, tenant_id: int, table: str) -> dict[str, str]:
    """Change the keys of a table, and return the old and the new key of each address whose new key is taken."""
    name = sql.Identifier(table)
    rows = conn.execute(sql.SQL(RARE_ADDRESSES).format(table=name), (tenant_id,)).fetchall()
    left = {old: new for old, as_given in rows if (new := match_key(as_given)) and new != old}
    # A key may be taken by an address that will leave it. So the rest is tried again after each change.
    while left:
        first = {new: old for old, new in reversed(left.items())}
        values = _keys_of(tenant_id, {old: new for new, old in first.items()})
        changed = conn.execute(sql.SQL(CHANGE_KEYS).format(table=name), values).fetchall()
        if not changed:
            break
        for (old,) in changed:
            del left[old]
    return left


def _keys_of(tenant_id: int, changes: dict[str, str]) -> dict[str, object]:
    return {"tenant": tenant_id, "old": list(changes), "new": list(changes.values())}
