"""Manage the accounts of the console: add them, give them links and roles, disable them, set passwords."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from console.access.passwords import hash_password, is_password
from console.issued_secrets import digest_of
from console.operations.audited import Change, Run, carry_out
from shared.db.accounts import accounts, audit, sessions
from shared.db.accounts.accounts import IdentityTaken
from shared.db.accounts.audit import NewAuditEntry
from shared.errors import MailroomError
from shared.text import clean, without_joiners

if TYPE_CHECKING:
    from console.access.actor import Actor
    from shared.db.accounts.accounts import Account, Purpose, Role
    from shared.db.core.pool import Connection
    from shared.openid import OpenIdIdentity

LONGEST_EMAIL = 254  # RFC 5321
LONGEST_NAME = 100
LINK_VALID_FOR = {"password": timedelta(days=2), "login": timedelta(hours=1)}


class BadAccount(MailroomError):
    """The e-mail address or the name of an account cannot be used."""

    code = "bad_account"


class UnknownAccount(MailroomError):
    """No account has this e-mail address or id."""

    code = "unknown_account"


class LinkClosed(MailroomError):
    """The link was used, replaced, or has expired."""

    code = "link_closed"


class IdentityUnknown(MailroomError):
    """No account lets this identity of an OpenID provider in. `reason` is for the audit, and not for the person."""

    code = "identity_unknown"

    def __init__(self, reason: str, *, account: Account | None = None):
        super().__init__("nobody here is let in with this account")
        self.reason = reason
        self.account = account


class WrongPassword(MailroomError):
    """The password is not the one of the account."""

    code = "wrong_password"


@dataclass(frozen=True, kw_only=True)
class LoginLink:
    """A link as it is given out; its path cannot be read again."""

    path: str
    expires_at: datetime


@dataclass(frozen=True, kw_only=True)
class NewSession:
    """A session that is started: the digest of its secret, and the IP address of its browser."""

    digest: bytes
    address: str | None


def add_account(run: Run, actor: Actor, *, email: str, name: str, role: Role) -> int:
    """Add an account and return its id. Raises NotAllowed, BadAccount, AccountExists."""
    email, name = email.strip(), clean(name.strip(), LONGEST_NAME) or email.strip()
    if not _looks_like_email(email):
        raise BadAccount(f"{email!r} is no e-mail address; it looks like jane@example.com")
    change = Change(verb="manage_accounts", target=email, after={"role": role})
    return carry_out(run, actor, change, lambda conn: accounts.add(conn, email=email, name=name, role=role))


def make_link(run: Run, actor: Actor, account: Account, purpose: Purpose = "password") -> LoginLink:
    """Make a link that works once, in place of older ones. Raises NotAllowed."""
    token = secrets.token_urlsafe(32)
    change = Change(verb="manage_accounts", target=account.email, detail=f"a link for a {purpose}")
    valid_for = LINK_VALID_FOR[purpose]
    expires_at = carry_out(
        run,
        actor,
        change,
        lambda conn: accounts.add_link(conn, account.id, digest_of(token), purpose=purpose, valid_for=valid_for),
    )
    return LoginLink(path=f"/{purpose}/{token}", expires_at=expires_at)


def set_role(run: Run, actor: Actor, account: Account, role: Role) -> None:
    """Give an account another role. Raises NotAllowed, LastAdmin."""
    change = Change(verb="manage_accounts", target=account.email, before={"role": account.role}, after={"role": role})
    carry_out(run, actor, change, lambda conn: accounts.set_role(conn, account.id, role))


def set_enabled(run: Run, actor: Actor, account: Account, *, enabled: bool) -> None:
    """Let an account log in, or keep it from logging in and end its sessions. Raises NotAllowed, LastAdmin."""
    change = Change(
        verb="manage_accounts",
        target=account.email,
        before={"enabled": account.is_enabled},
        after={"enabled": enabled},
    )
    work = accounts.enable if enabled else accounts.disable
    carry_out(run, actor, change, lambda conn: work(conn, account.id))


def unbind_identity(run: Run, actor: Actor, account: Account) -> None:
    """Release an account from its OpenID identity, end its sessions, and let its next log-in bind another one.

    Raises NotAllowed.
    """
    change = Change(
        verb="manage_accounts", target=account.email, before={"provider": account.oidc_issuer}, after={"provider": None}
    )
    carry_out(run, actor, change, lambda conn: accounts.unbind_identity(conn, account.id))


def log_in_with_identity(
    run: Run, identity: OpenIdIdentity, session: NewSession, *, account_id: int | None = None
) -> Account:
    """Start a session for the account of an OpenID identity. Raises IdentityUnknown.

    An identity is known by issuer and subject alone. It is bound once to an account: to `account_id`, of somebody who
    was logged in when they asked for it, else to the one with the e-mail address that the provider has verified.
    """

    def work(conn: Connection) -> Account:
        found = accounts.find_by_identity(conn, identity.issuer, identity.subject)
        owner = found or _bind(conn, identity, account_id)
        if account_id not in {None, owner.id}:
            raise IdentityUnknown("the identity is bound to another account", account=owner)
        if not owner.is_enabled:
            raise IdentityUnknown("the account is disabled", account=owner)
        sessions.start(conn, owner.id, session.digest)
        bound = "by its owner" if account_id is not None else "by its e-mail address"
        detail = f"OpenID Connect, {identity.issuer}" + ("" if found else f"; bound to the account {bound}")
        audit.write(conn, _login_entry(owner.email, allowed=True, detail=detail, address=session.address))
        return owner

    return run(work)


def note_refused_identity(conn: Connection, account: Account | None, *, reason: str, address: str | None) -> None:
    """Write into the audit that a log-in by OpenID Connect was refused. No account: nobody knows whose it was."""
    who = account.email if account else "unknown"
    audit.write(conn, _login_entry(who, allowed=False, detail=f"OpenID Connect: {reason}", address=address))


def _bind(conn: Connection, identity: OpenIdIdentity, account_id: int | None) -> Account:
    if account_id is not None:
        owner = accounts.get(conn, account_id)
    elif identity.email is None:
        raise IdentityUnknown("the provider has verified no e-mail address")
    else:
        owner = accounts.find(conn, identity.email)
    if owner is None:
        raise IdentityUnknown("no account has the e-mail address")
    if owner.is_enabled and not _is_bound(conn, owner, identity):
        reason = "the account is bound to another identity, which `mailroom admin unbind` ends"
        raise IdentityUnknown(reason, account=owner)
    return owner


def _is_bound(conn: Connection, owner: Account, identity: OpenIdIdentity) -> bool:
    """Bind the account, unless it is bound. A log-in at the same moment may have bound it or taken the identity."""
    try:
        return accounts.bind_identity(conn, owner.id, issuer=identity.issuer, subject=identity.subject)
    except IdentityTaken:
        raise IdentityUnknown("the identity is bound to another account", account=owner) from None


def _login_entry(who: str, *, allowed: bool, detail: str, address: str | None) -> NewAuditEntry:
    return NewAuditEntry(
        who=who, via="page", verb="log_in", target=who, allowed=allowed, detail=detail, address=address
    )


def set_password_by_link(run: Run, token: str, password: str, session: NewSession) -> Account:
    """Set the password of a link's account, end its other sessions, and start one.

    Raises LinkClosed, BadPassword, HashingBusy.
    """
    hashed = hash_password(password)

    def work(conn: Connection) -> Account:
        owner = accounts.use_link(conn, digest_of(token), "password")
        if owner is None:
            raise LinkClosed("the link was used already, or it has expired; ask an admin for a new one")
        _set_password(conn, owner, hashed, session)
        return owner

    return run(work)


def change_password(run: Run, account: Account, *, old: str, new: str, session: NewSession) -> None:
    """Change one's own password, and end all sessions but the new one.

    Raises WrongPassword, BadPassword, HashingBusy.
    """
    stored = run(lambda conn: accounts.password_of(conn, account.id))
    if stored is not None and not is_password(old, stored):
        raise WrongPassword("that is not your password of today")
    hashed = hash_password(new)

    run(lambda conn: _set_password(conn, account, hashed, session))


def require_account(conn: Connection, email: str) -> Account:
    """Return the account with this e-mail address. Raises UnknownAccount."""
    found = accounts.find(conn, email)
    if found is None:
        raise UnknownAccount(f"nobody logs in as {email!r}; `mailroom admin list` lists all accounts")
    return found


def _set_password(conn: Connection, account: Account, hashed: str, session: NewSession) -> None:
    accounts.set_password(conn, account.id, hashed)
    sessions.start(conn, account.id, session.digest)
    entry = NewAuditEntry(
        who=account.email,
        via="page",
        verb="set_password",
        target=account.email,
        allowed=True,
        address=session.address,
    )
    audit.write(conn, entry)


def _looks_like_email(email: str) -> bool:
    local, at, domain = email.rpartition("@")
    return (
        bool(local and at and domain)
        and len(email) <= LONGEST_EMAIL
        and without_joiners(email).isprintable()
        and (" " not in email)
    )
