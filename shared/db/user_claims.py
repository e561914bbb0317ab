"""Decides who of a staged list gets which address, and who gives it up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.db.user_import import Mistake, stream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.db.pool import Connection


@dataclass(frozen=True, kw_only=True)
class Move:
    """An address that leaves its owner for another user; both by their external ids."""

    address: str
    owner: str
    heir: str


def leave_out_taken(conn: Connection, tenant_id: int, *, move: bool = False) -> Iterator[Mistake]:
    """Take out the addresses that belong to somebody else; the rest of their lines stays.

    An address stays with the user who has it unless the list gives that user others, or addresses are to `move` from
    users whom the list does not name; a new one goes to the first line.
    """
    conn.execute(
        "UPDATE imported_users i SET user_id = u.id FROM users u "
        "WHERE u.tenant_id = %s AND u.external_id = i.external_id",
        (tenant_id,),
    )
    rows = stream(
        conn,
        """
        WITH claims AS (
            SELECT a.line, a.address, o.user_id AS owner_id, h.external_id AS owner,
                o.user_id IS NOT NULL AND NOT %(move)s
                    AND NOT EXISTS (SELECT FROM imported_users x WHERE x.user_id = o.user_id) AS kept,
                first_value(u.external_id) OVER claim AS winner, row_number() OVER claim AS place
            FROM imported_addresses a JOIN imported_users u ON u.line = a.line
            LEFT JOIN user_addresses o ON o.tenant_id = %(tenant)s AND o.address = a.address
            LEFT JOIN users h ON h.tenant_id = %(tenant)s AND h.id = o.user_id
            WINDOW claim AS (PARTITION BY a.address ORDER BY (o.user_id = u.user_id) IS TRUE DESC, a.line)
        )
        DELETE FROM imported_addresses a USING claims c
        WHERE c.line = a.line AND c.address = a.address AND (c.kept OR c.place > 1)
        RETURNING a.line, a.as_given, CASE WHEN c.kept THEN c.owner ELSE c.winner END
        """,
        {"tenant": tenant_id, "move": move},
    )
    for line, address, owner in rows:
        yield Mistake(line=line, what=f"{address} belongs to user {owner!r}", address=address)


def moves(conn: Connection, tenant_id: int) -> Iterator[Move]:
    """The addresses that are about to change hands, in the order of the list."""
    rows = stream(
        conn,
        """
        SELECT a.as_given, h.external_id, u.external_id
        FROM imported_addresses a JOIN imported_users u ON u.line = a.line
        JOIN user_addresses o ON o.tenant_id = %(tenant)s AND o.address = a.address
        JOIN users h ON h.tenant_id = o.tenant_id AND h.id = o.user_id
        WHERE o.user_id IS DISTINCT FROM u.user_id ORDER BY a.line, a.position
        """,
        {"tenant": tenant_id},
    )
    for address, owner, heir in rows:
        yield Move(address=address, owner=owner, heir=heir)


def give_up_addresses(conn: Connection, tenant_id: int) -> None:
    """Take from the listed users the addresses that their lines no longer name, and from others those that move."""
    conn.execute(
        """
        WITH gone AS (
            DELETE FROM user_addresses o USING imported_users u
            WHERE o.tenant_id = %s AND o.user_id = u.user_id AND NOT EXISTS (
                SELECT FROM imported_addresses a WHERE a.line = u.line AND a.address = o.address)
            RETURNING u.line
        )
        UPDATE imported_users SET outcome = 'changed' WHERE line IN (SELECT line FROM gone)
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
