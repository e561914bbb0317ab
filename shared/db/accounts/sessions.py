"""Sessions of the console, log-ins that wait for an OpenID provider, and the limits on log-ins that fail."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from psycopg.rows import class_row

from shared.db.accounts.accounts import COLUMNS, Account

if TYPE_CHECKING:
    from shared.db.core.pool import Connection

#: A session ends when nobody used it for so long, and in any case when it is this old.
IDLE = timedelta(hours=12)
LONGEST = timedelta(days=7)
#: So many log-ins may fail within the window: for one account from one address, for one account, from one address.
WINDOW = timedelta(minutes=15)
MOST_OF_BOTH = 5
MOST_OF_AN_ACCOUNT = 50
MOST_OF_AN_ADDRESS = 30

#: A log-in may stay with the provider for so long, and so many of one address may.
WAITING = timedelta(minutes=10)
MOST_WAITING_OF_AN_ADDRESS = 100

_OPEN = "s.seen_at > now() - %(idle)s AND s.created_at > now() - %(longest)s"
_LIMITS = {"idle": IDLE, "longest": LONGEST}


def start(conn: Connection, account_id: int, digest: bytes) -> None:
    """Start a session for the browser that holds the secret of this digest."""
    conn.execute("INSERT INTO console_sessions (digest, account_id) VALUES (%s, %s)", (digest, account_id))
    conn.execute("UPDATE accounts SET last_login_at = now() WHERE id = %s", (account_id,))


def find(conn: Connection, digest: bytes) -> Account | None:
    """Return the account of an open session. Notes the use at most once a minute."""
    with conn.cursor(row_factory=class_row(Account)) as cursor:
        found = cursor.execute(
            f"SELECT {COLUMNS} FROM console_sessions s JOIN accounts a ON a.id = s.account_id"  # noqa: S608 -- ours
            f" WHERE s.digest = %(digest)s AND a.disabled_at IS NULL AND {_OPEN}",
            {"digest": digest, **_LIMITS},
        ).fetchone()
    if found:
        conn.execute(
            "UPDATE console_sessions SET seen_at = now() WHERE digest = %s AND seen_at < now() - interval '1 minute'",
            (digest,),
        )
    return found


def end(conn: Connection, digest: bytes) -> None:
    """End one session."""
    conn.execute("DELETE FROM console_sessions WHERE digest = %s", (digest,))


def end_others(conn: Connection, account_id: int, digest: bytes) -> int:
    """End the account's other sessions, and return how many those were."""
    return conn.execute(
        "DELETE FROM console_sessions WHERE account_id = %s AND digest <> %s", (account_id, digest)
    ).rowcount


def count(conn: Connection, account_id: int) -> int:
    """Count the account's open sessions."""
    row = conn.execute(
        f"SELECT count(*) FROM console_sessions s WHERE s.account_id = %(account)s AND {_OPEN}",  # noqa: S608 -- ours
        {"account": account_id, **_LIMITS},
    ).fetchone()
    return int(row[0]) if row else 0


@dataclass(frozen=True, kw_only=True)
class WaitingLogin:
    """A log-in that waits for the provider's answer. `browser`: the digest of the secret that only its browser has.

    `account_id`: the account of somebody who is logged in already, and binds it to their identity at the provider.
    """

    browser: bytes
    nonce: str
    code_verifier: str
    target: str
    account_id: int | None = None


def save_waiting(conn: Connection, state: bytes, waiting: WaitingLogin, address: str) -> None:
    """Keep a log-in under the digest of its state, in place of the oldest if the address has too many."""
    values = {"address": address, "most": MOST_WAITING_OF_AN_ADDRESS - 1, "waiting": WAITING, "state": state}
    conn.execute(
        "DELETE FROM oidc_logins WHERE expires_at < now() OR state IN (SELECT state FROM oidc_logins"
        " WHERE address = %(address)s ORDER BY expires_at DESC, state OFFSET %(most)s)",
        values,
    )
    conn.execute(
        """
        INSERT INTO oidc_logins (state, browser, nonce, code_verifier, target, account_id, address, expires_at)
        VALUES (%(state)s, %(browser)s, %(nonce)s, %(code_verifier)s, %(target)s, %(account_id)s, %(address)s,
                now() + %(waiting)s)
        """,
        values | vars(waiting),
    )


def take_waiting(conn: Connection, state: bytes) -> WaitingLogin | None:
    """Take out the log-in of this state, if it began a short time ago: each state works once, whoever brings it."""
    row = conn.execute(
        "DELETE FROM oidc_logins WHERE state = %s RETURNING browser, nonce, code_verifier, target, account_id,"
        " expires_at > now()",
        (state,),
    ).fetchone()
    if row is None or not row[5]:
        return None
    return WaitingLogin(browser=row[0], nonce=row[1], code_verifier=row[2], target=row[3], account_id=row[4])


def note_failure(conn: Connection, account: bytes, address: str) -> None:
    """Note a log-in with a wrong password; `account` is the digest of the e-mail address that was typed."""
    conn.execute("INSERT INTO login_failures (account, address) VALUES (%s, %s)", (account, address))


def seconds_closed(conn: Connection, account: bytes, address: str) -> float:
    """Return the seconds for which this account takes no log-in from this address; 0 when it does."""
    row = conn.execute(
        """
        SELECT greatest(0, extract(epoch FROM max(closed.until) - now())) FROM (
            SELECT (SELECT failed_at FROM login_failures WHERE account = %(account)s AND address = %(address)s
                    ORDER BY failed_at DESC OFFSET %(both)s LIMIT 1) + %(window)s
            UNION ALL
            SELECT (SELECT failed_at FROM login_failures WHERE account = %(account)s
                    ORDER BY failed_at DESC OFFSET %(one)s LIMIT 1) + %(window)s
            UNION ALL
            SELECT (SELECT failed_at FROM login_failures WHERE address = %(address)s
                    ORDER BY failed_at DESC OFFSET %(other)s LIMIT 1) + %(window)s
        ) closed(until)
        """,
        {
            "account": account,
            "address": address,
            "both": MOST_OF_BOTH - 1,
            "one": MOST_OF_AN_ACCOUNT - 1,
            "other": MOST_OF_AN_ADDRESS - 1,
            "window": WINDOW,
        },
    ).fetchone()
    return float(row[0] or 0) if row else 0.0


def forget_failures(conn: Connection, account: bytes, address: str) -> None:
    """Forget the failures of an account from an address: its owner has logged in from there."""
    conn.execute("DELETE FROM login_failures WHERE account = %s AND address = %s", (account, address))


def delete_ended(conn: Connection) -> int:
    """Delete sessions, links and failures that have no effect any more; return how many rows those were."""
    values = {**_LIMITS, "window": WINDOW}
    sessions = conn.execute(
        f"DELETE FROM console_sessions s WHERE NOT ({_OPEN})",  # noqa: S608 -- ours
        values,
    ).rowcount
    links = conn.execute("DELETE FROM login_links WHERE expires_at < now()").rowcount
    waiting = conn.execute("DELETE FROM oidc_logins WHERE expires_at < now()").rowcount
    failures = conn.execute("DELETE FROM login_failures WHERE failed_at < now() - %(window)s", values).rowcount
    return sessions + links + waiting + failures
