"""Browsers that were sent to Front's consent page: who may come back, and once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from psycopg.rows import class_row

if TYPE_CHECKING:
    from shared.db.pool import Connection

VALID_FOR = timedelta(minutes=10)
#: Remembered for longer, so that somebody who comes back late is told so.
KEPT_FOR = timedelta(hours=1)


@dataclass(frozen=True, kw_only=True)
class Consent:
    """A state that came back: the link it was given out for, and whether it may be acted on."""

    link: bytes
    tenant_id: int
    company_id: str | None
    in_time: bool
    same_browser: bool


def ask(conn: Connection, *, state: bytes, link: bytes, browser: bytes) -> None:
    """Expect this state back from this browser (digests all), and forget those that nobody came back with."""
    conn.execute("DELETE FROM oauth_states WHERE expires_at < now() - %s", (KEPT_FOR - VALID_FOR,))
    conn.execute(
        "INSERT INTO oauth_states (digest, link, browser, expires_at) VALUES (%s, %s, %s, now() + %s)"
        " ON CONFLICT DO NOTHING",
        (state, link, browser, VALID_FOR),
    )


def take(conn: Connection, *, state: bytes, browser: bytes) -> Consent | None:
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
