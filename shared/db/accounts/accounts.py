"""Accounts of the console: who may log in, with which role, and the links that work once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from psycopg.errors import UniqueViolation
from psycopg.rows import class_row

from shared.errors import MailroomError

if TYPE_CHECKING:
    from shared.db.core.pool import Connection

Role = Literal["viewer", "operator", "admin"]
Purpose = Literal["password", "login"]


class AccountExists(MailroomError):
    """An account has this e-mail address already."""

    code = "account_exists"


class IdentityTaken(MailroomError):
    """Another account is bound to this identity at an OpenID provider."""

    code = "identity_taken"


class LastAdmin(MailroomError):
    """The change would leave no admin who can log in."""

    code = "last_admin"


@dataclass(frozen=True, kw_only=True)
class Account:
    """An account as people see it."""

    id: int
    email: str
    name: str
    role: Role
    has_password: bool
    oidc_issuer: str | None
    created_at: datetime
    disabled_at: datetime | None
    last_login_at: datetime | None

    @property
    def is_enabled(self) -> bool:
        """Whether the account may log in."""
        return self.disabled_at is None


COLUMNS = (
    "a.id, a.email, a.name, a.role, a.password IS NOT NULL AS has_password, a.oidc_issuer, a.created_at, "
    "a.disabled_at, a.last_login_at"
)


def add(conn: Connection, *, email: str, name: str, role: Role) -> int:
    """Add an account without a password, and return its id. Raises AccountExists."""
    try:
        row = conn.execute(
            "INSERT INTO accounts (email, name, role) VALUES (%s, %s, %s) RETURNING id", (email, name, role)
        ).fetchone()
    except UniqueViolation:
        raise AccountExists("somebody with this e-mail address may log in already") from None
    assert row is not None  # noqa: S101 -- RETURNING gives the row
    return int(row[0])


def list_all(conn: Connection) -> list[Account]:
    """Return all accounts by e-mail address, disabled ones last."""
    return _select(conn, "ORDER BY a.disabled_at IS NOT NULL, lower(a.email)")


def get(conn: Connection, account_id: int) -> Account | None:
    """Return the account with this id."""
    return next(iter(_select(conn, "WHERE a.id = %s", account_id)), None)


def find(conn: Connection, email: str) -> Account | None:
    """Return the account with this e-mail address, in upper or lower case."""
    return next(iter(_select(conn, "WHERE lower(a.email) = lower(%s)", email)), None)


def find_by_identity(conn: Connection, issuer: str, subject: str) -> Account | None:
    """Return the account that is bound to this identity at an OpenID provider."""
    return next(iter(_select(conn, "WHERE a.oidc_issuer = %s AND a.oidc_subject = %s", issuer, subject)), None)


def bind_identity(conn: Connection, account_id: int, *, issuer: str, subject: str) -> bool:
    """Bind an account to an identity at an OpenID provider. False when the account is bound to another one.

    Raises IdentityTaken when another account was bound to the identity meanwhile: then the transaction is lost.
    """
    try:
        cursor = conn.execute(
            "UPDATE accounts SET oidc_issuer = %(issuer)s, oidc_subject = %(subject)s WHERE id = %(account)s"
            " AND (oidc_subject IS NULL OR oidc_issuer = %(issuer)s AND oidc_subject = %(subject)s)",
            {"issuer": issuer, "subject": subject, "account": account_id},
        )
    except UniqueViolation:
        raise IdentityTaken("another account is bound to this identity") from None
    return cursor.rowcount == 1


def unbind_identity(conn: Connection, account_id: int) -> None:
    """Release an account from its identity at an OpenID provider, and end its sessions."""
    conn.execute("UPDATE accounts SET oidc_issuer = NULL, oidc_subject = NULL WHERE id = %s", (account_id,))
    _end_access(conn, account_id)


def exists(conn: Connection) -> bool:
    """Whether anybody may log in: without an account, the console shows no page but the one that says so."""
    return conn.execute("SELECT FROM accounts WHERE disabled_at IS NULL LIMIT 1").fetchone() is not None


def password_of(conn: Connection, account_id: int) -> str | None:
    """Return the account's password as a PHC string."""
    row = conn.execute("SELECT password FROM accounts WHERE id = %s", (account_id,)).fetchone()
    return row[0] if row else None


def set_password(conn: Connection, account_id: int, password: str) -> None:
    """Set the password, a PHC string, and end the account's sessions and links."""
    conn.execute("UPDATE accounts SET password = %s WHERE id = %s", (password, account_id))
    _end_access(conn, account_id)


def set_role(conn: Connection, account_id: int, role: Role) -> None:
    """Give the account a role. Raises LastAdmin."""
    conn.execute("UPDATE accounts SET role = %s WHERE id = %s", (role, account_id))
    _require_admin(conn)


def disable(conn: Connection, account_id: int) -> None:
    """Keep the account from logging in, and end its sessions and links. Raises LastAdmin."""
    conn.execute(
        "UPDATE accounts SET disabled_at = coalesce(disabled_at, now()) WHERE id = %s",
        (account_id,),
    )
    _end_access(conn, account_id)
    _require_admin(conn)


def enable(conn: Connection, account_id: int) -> None:
    """Let the account log in again."""
    conn.execute("UPDATE accounts SET disabled_at = NULL WHERE id = %s", (account_id,))


def add_link(conn: Connection, account_id: int, digest: bytes, *, purpose: Purpose, valid_for: timedelta) -> datetime:
    """Store a link that works once, in place of the account's older ones; return when it expires."""
    conn.execute("DELETE FROM login_links WHERE account_id = %s OR expires_at < now()", (account_id,))
    row = conn.execute(
        "INSERT INTO login_links (digest, account_id, purpose, expires_at) VALUES (%s, %s, %s, now() + %s)"
        " RETURNING expires_at",
        (digest, account_id, purpose, valid_for),
    ).fetchone()
    assert row is not None  # noqa: S101 -- RETURNING gives the row
    return row[0]  # type: ignore[no-any-return]


def link_owner(conn: Connection, digest: bytes, purpose: Purpose) -> Account | None:
    """Return the enabled account of an open link, which stays open."""
    condition = (
        "JOIN login_links l ON l.account_id = a.id WHERE l.digest = %s AND l.purpose = %s AND l.expires_at > now()"
        " AND a.disabled_at IS NULL"
    )
    return next(iter(_select(conn, condition, digest, purpose)), None)


def use_link(conn: Connection, digest: bytes, purpose: Purpose) -> Account | None:
    """Return the enabled account of an open link, and end the link."""
    owner = link_owner(conn, digest, purpose)
    used = conn.execute("DELETE FROM login_links WHERE digest = %s", (digest,)).rowcount == 1
    return owner if used else None


def _end_access(conn: Connection, account_id: int) -> None:
    conn.execute("DELETE FROM console_sessions WHERE account_id = %s", (account_id,))
    conn.execute("DELETE FROM login_links WHERE account_id = %s", (account_id,))


def _require_admin(conn: Connection) -> None:
    conn.execute("LOCK TABLE accounts IN SHARE ROW EXCLUSIVE MODE")
    if conn.execute("SELECT FROM accounts WHERE role = 'admin' AND disabled_at IS NULL").fetchone() is None:
        raise LastAdmin("nobody could manage accounts afterwards: make somebody else an admin first")


def _select(conn: Connection, condition: str, *values: object) -> list[Account]:
    with conn.cursor(row_factory=class_row(Account)) as cursor:
        return cursor.execute(
            f"SELECT {COLUMNS} FROM accounts a {condition}",  # noqa: S608 -- constants of ours
            values,
        ).fetchall()
