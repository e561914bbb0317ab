"""Ties a tenant to the company whose admin consented: one company, one tenant, both ways and for good."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import psycopg

from shared.db.locks import hold_off_erasing
from shared.errors import MailroomError

if TYPE_CHECKING:
    from shared.db.pool import Connection


class NotBound(MailroomError):
    """The company may not be tied to this tenant; nothing was changed."""

    code = "not_bound"


class CompanyTaken(NotBound):
    """The company belongs to another tenant."""

    code = "company_taken"


class OtherCompany(NotBound):
    """The tenant has another company already."""

    code = "other_company"


class LinkEnded(NotBound):
    """The link was used in the meantime."""

    code = "link_ended"


class LinkReplaced(LinkEnded):
    """A newer link took its place in the meantime."""


def bind(conn: Connection, tenant_id: int, company_id: str) -> None:
    """Make the company the tenant's, if it has none yet. Raises CompanyTaken, OtherCompany.

    Of two that bind at once one waits for the other's end. After CompanyTaken the transaction can only be rolled back.
    """
    hold_off_erasing(conn)  # before the tenant's row, as whoever erases does
    row = conn.execute("SELECT company_id FROM tenants WHERE id = %s FOR NO KEY UPDATE", (tenant_id,)).fetchone()
    known = row[0] if row else None
    if known not in {None, company_id}:
        raise OtherCompany("the tenant is connected to another company; a second one needs a tenant of its own")
    if known is None:
        try:
            conn.execute("UPDATE tenants SET company_id = %s WHERE id = %s", (company_id, tenant_id))
        except psycopg.errors.UniqueViolation:
            raise CompanyTaken(f"{company_id} belongs to another tenant") from None


def use_link(conn: Connection, link: bytes) -> datetime:
    """End the link as used; gives the moment. Raises LinkEnded, LinkReplaced."""
    row = conn.execute(
        "UPDATE connect_links SET ended = 'used' WHERE digest = %s AND ended IS NULL RETURNING now()", (link,)
    ).fetchone()
    if row is None:
        raise _ended(conn, link)
    used_at: datetime = row[0]
    return used_at


def _ended(conn: Connection, link: bytes) -> LinkEnded:
    replaced = conn.execute("SELECT FROM connect_links WHERE digest = %s AND ended = 'replaced'", (link,)).rowcount
    if replaced:
        return LinkReplaced("a newer link took the place of this one in the meantime")
    return LinkEnded("the link was used in the meantime")
