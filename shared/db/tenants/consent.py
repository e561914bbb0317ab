"""Connect links, the `state` of OAuth authorizations, and the binding of a tenant to its company.

A tenant has one company, and a company one tenant, for good. The company's admin consents by opening a connect link.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

import psycopg
from psycopg.rows import class_row

from shared.db.core.locks import prevent_erasing
from shared.errors import MailroomError

if TYPE_CHECKING:
    from shared.db.core.pool import Connection


VALID_FOR = timedelta(minutes=10)
#: A link has no more open states. A further one takes the place of the oldest.
MOST_STATES = 10
#: A state is stored for longer than it is valid, so that an admin who is late is told so.
KEPT_FOR = timedelta(hours=1)


class NotBound(MailroomError):
    """The company cannot be bound to this tenant; nothing was changed."""

    code = "not_bound"


class CompanyTaken(NotBound):
    """The company belongs to another tenant."""

    code = "company_taken"


class OtherCompany(NotBound):
    """The tenant has another company already, or its link is for another one."""

    code = "other_company"


class LinkEnded(NotBound):
    """The link was used in the meantime."""

    code = "link_ended"


class LinkReplaced(LinkEnded):
    """A newer link replaced this one in the meantime."""


@dataclass(frozen=True, kw_only=True)
class ConnectLink:
    """A connect link, its current state, and what its page says of the tenant and its policy.

    `company_id`: the only company that may be connected; None: any.
    """

    tenant_id: int
    tenant: str
    company_id: str | None
    state: Literal["open", "expired", "used", "replaced"]
    action: str
    only_when_matched: bool
    only_inboxes: list[str] | None
    dry_run: bool


@dataclass(frozen=True, kw_only=True)
class Consent:
    """A `state` that a browser brought back, its link, and whether it came in time and from the same browser.

    `company_id`: the only company that may be connected; None: any.
    """

    link: bytes
    tenant_id: int
    tenant: str
    company_id: str | None
    in_time: bool
    same_browser: bool


def add_link(
    conn: Connection, tenant_id: int, digest: bytes, *, valid_for: timedelta, company_id: str | None = None
) -> datetime:
    """Add a link in place of the tenant's open one, and return when it expires. Call it in a transaction.

    With a `company_id` the link connects no other company. Raises OtherCompany when the tenant has another one.
    """
    # Of two calls at once, the second one waits here, then ends the link of the first.
    row = conn.execute("SELECT company_id FROM tenants WHERE id = %s FOR NO KEY UPDATE", (tenant_id,)).fetchone()
    if row and company_id and row[0] not in {None, company_id}:
        raise OtherCompany(f"the tenant has the company {row[0]}; a second one needs a tenant of its own")
    conn.execute("UPDATE connect_links SET ended = 'replaced' WHERE tenant_id = %s AND ended IS NULL", (tenant_id,))
    row = conn.execute(
        "INSERT INTO connect_links (digest, tenant_id, company_id, expires_at)"
        " VALUES (%s, %s, %s, now() + %s) RETURNING expires_at",
        (digest, tenant_id, company_id, valid_for),
    ).fetchone()
    if row is None:
        raise RuntimeError("INSERT … RETURNING gave no row")
    expires_at: datetime = row[0]
    return expires_at


def find_link(conn: Connection, digest: bytes) -> ConnectLink | None:
    """Return the link with this digest, whatever its state."""
    with conn.cursor(row_factory=class_row(ConnectLink)) as cursor:
        return cursor.execute(
            """
            SELECT l.tenant_id, t.name AS tenant, coalesce(t.company_id, l.company_id) AS company_id,
                coalesce(l.ended, CASE WHEN l.expires_at <= now() THEN 'expired' ELSE 'open' END) AS state,
                t.action, t.only_when_matched, t.only_inboxes, t.dry_run
            FROM connect_links l JOIN tenants t ON t.id = l.tenant_id WHERE l.digest = %s
            """,
            (digest,),
        ).fetchone()


def save_state(conn: Connection, *, state: bytes, link: bytes, browser: bytes) -> None:
    """Store the `state` that this browser will bring back, and delete old ones. All arguments are digests."""
    conn.execute("DELETE FROM oauth_states WHERE expires_at < now() - %s", (KEPT_FOR - VALID_FOR,))
    conn.execute("SELECT FROM connect_links WHERE digest = %s FOR NO KEY UPDATE", (link,))  # others wait, then count
    conn.execute(
        "DELETE FROM oauth_states WHERE digest IN"
        " (SELECT digest FROM oauth_states WHERE link = %s ORDER BY expires_at DESC OFFSET %s)",
        (link, MOST_STATES - 1),
    )
    conn.execute(
        "INSERT INTO oauth_states (digest, link, browser, expires_at) VALUES (%s, %s, %s, now() + %s)"
        " ON CONFLICT DO NOTHING",
        (state, link, browser, VALID_FOR),
    )


def take_state(conn: Connection, *, state: bytes, browser: bytes) -> Consent | None:
    """Remove the `state`, so that it works once, and return its consent.

    None when the `state` is unknown or was used already.
    """
    with conn.cursor(row_factory=class_row(Consent)) as cursor:
        return cursor.execute(
            """
            DELETE FROM oauth_states c USING connect_links l, tenants t
            WHERE c.digest = %s AND l.digest = c.link AND t.id = l.tenant_id
            RETURNING c.link, l.tenant_id, t.name AS tenant, coalesce(t.company_id, l.company_id) AS company_id,
                c.expires_at > now() AS in_time, c.browser = %s AS same_browser
            """,
            (state, browser),
        ).fetchone()


def bind_company(conn: Connection, tenant_id: int, company_id: str) -> None:
    """Bind the company to the tenant, if the tenant has none yet. Raises CompanyTaken, OtherCompany.

    Two transactions that bind the tenant wait for each other. After CompanyTaken the transaction must be rolled back.
    """
    prevent_erasing(conn)  # before the tenant's row is locked: an erasure locks in the same order
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
    """End the link as used, and return the time. Raises LinkEnded, LinkReplaced."""
    row = conn.execute(
        "UPDATE connect_links SET ended = 'used' WHERE digest = %s AND ended IS NULL RETURNING now()", (link,)
    ).fetchone()
    if row is None:
        raise _link_ended(conn, link)
    used_at: datetime = row[0]
    return used_at


def _link_ended(conn: Connection, link: bytes) -> LinkEnded:
    replaced = conn.execute("SELECT FROM connect_links WHERE digest = %s AND ended = 'replaced'", (link,)).rowcount
    if replaced:
        return LinkReplaced("a newer link took the place of this one in the meantime")
    return LinkEnded("the link was used in the meantime")
