"""Ties a tenant to the company whose admin consented: one company, one tenant, both ways and for good."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

import psycopg
from psycopg.rows import class_row

from shared.db.core.locks import hold_off_erasing
from shared.errors import MailroomError

if TYPE_CHECKING:
    from shared.db.core.pool import Connection


VALID_FOR = timedelta(minutes=10)
#: Remembered for longer, so that somebody who comes back late is told so.
KEPT_FOR = timedelta(hours=1)


@dataclass(frozen=True, kw_only=True)
class ConnectLink:
    """A link as it stands now."""

    tenant_id: int
    tenant: str
    state: Literal["open", "expired", "used", "replaced"]


def add_link(conn: Connection, tenant_id: int, digest: bytes, *, valid_for: timedelta) -> datetime:
    """Make the tenant's only open link; gives its end. Call in a transaction: older ones end here."""
    # Two at once: the second waits here, then ends the first one's link.
    conn.execute("SELECT FROM tenants WHERE id = %s FOR NO KEY UPDATE", (tenant_id,))
    conn.execute("UPDATE connect_links SET ended = 'replaced' WHERE tenant_id = %s AND ended IS NULL", (tenant_id,))
    row = conn.execute(
        "INSERT INTO connect_links (digest, tenant_id, expires_at) VALUES (%s, %s, now() + %s) RETURNING expires_at",
        (digest, tenant_id, valid_for),
    ).fetchone()
    if row is None:
        raise RuntimeError("INSERT … RETURNING gave no row")
    expires_at: datetime = row[0]
    return expires_at


def find_link(conn: Connection, digest: bytes) -> ConnectLink | None:
    """The link with this digest, good or not."""
    with conn.cursor(row_factory=class_row(ConnectLink)) as cursor:
        return cursor.execute(
            """
            SELECT l.tenant_id, t.name AS tenant,
                coalesce(l.ended, CASE WHEN l.expires_at <= now() THEN 'expired' ELSE 'open' END) AS state
            FROM connect_links l JOIN tenants t ON t.id = l.tenant_id WHERE l.digest = %s
            """,
            (digest,),
        ).fetchone()


@dataclass(frozen=True, kw_only=True)
class Consent:
    """A state that came back: the link it was given out for, and whether it may be acted on."""

    link: bytes
    tenant_id: int
    company_id: str | None
    in_time: bool
    same_browser: bool


def ask_consent(conn: Connection, *, state: bytes, link: bytes, browser: bytes) -> None:
    """Expect this state back from this browser (digests all), and forget those that nobody came back with."""
    conn.execute("DELETE FROM oauth_states WHERE expires_at < now() - %s", (KEPT_FOR - VALID_FOR,))
    conn.execute(
        "INSERT INTO oauth_states (digest, link, browser, expires_at) VALUES (%s, %s, %s, now() + %s)"
        " ON CONFLICT DO NOTHING",
        (state, link, browser, VALID_FOR),
    )


def take_consent(conn: Connection, *, state: bytes, browser: bytes) -> Consent | None:
    """Take the state out, so that it works once, whoever brings it; None when nobody was given it, or it was taken."""
    with conn.cursor(row_factory=class_row(Consent)) as cursor:
        return cursor.execute(
            """
            DELETE FROM oauth_states c USING connect_links l, tenants t
            WHERE c.digest = %s AND l.digest = c.link AND t.id = l.tenant_id
            RETURNING c.link, l.tenant_id, t.company_id, c.expires_at > now() AS in_time, c.browser = %s AS same_browser
            """,
            (state, browser),
        ).fetchone()


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
