"""Log people in to the console and out again, and keep other sites from acting in their name.

The session's cookie holds a secret; its row is found by the secret's digest. The cookie is SameSite=Strict, so a
visitor who follows a link from elsewhere comes without it: such a request is answered with a page that loads itself
once more, and then the browser sends the cookie.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import structlog
from flask import g, request
from flask import session as browser_session

from console.access.actor import account_actor
from console.access.passwords import is_password
from console.issued_secrets import digest_of
from console.operations.accounts import NewSession
from console.web.resources import current_resources
from shared.db.accounts import accounts, audit, sessions
from shared.db.accounts.audit import NewAuditEntry
from shared.errors import MailroomError
from shared.process.forwarded import network_of

if TYPE_CHECKING:
    from flask import Response

    from console.access.actor import Actor
    from shared.db.accounts.accounts import Account
    from shared.db.core.pool import Connection

CSRF_KEY = "csrf_token"  # Flask-WTF's name in the browser's session
MOST_NEXT = 2_000  # characters of the address to which a log-in goes on

log = structlog.get_logger(__name__)


class LoginRefused(MailroomError):
    """Nobody was logged in: the address or the password is wrong, or there were too many tries."""

    code = "login_refused"

    def __init__(self, message: str, *, wait_seconds: float = 0.0):
        super().__init__(message)
        self.wait_seconds = wait_seconds


def current_account() -> Account | None:
    """Return the account that is logged in, looked up once a request."""
    if "account" not in g:
        secret = request.cookies.get(cookie_name(), "")
        digest = digest_of(secret)
        g.account = current_resources().pool.run(lambda conn: sessions.find(conn, digest)) if secret else None
    found: Account | None = g.account
    return found


def current_actor() -> Actor | None:
    """Return whoever is logged in, with the rights of the account's role."""
    account = current_account()
    return None if account is None else account_actor(account, address=request.remote_addr)


def session_digest() -> bytes:
    """Return the digest of the session's secret; that of nothing when the browser has none."""
    return digest_of(request.cookies.get(cookie_name(), ""))


def check_login(email: str, password: str) -> Account:
    """Return the account with this e-mail address and password. Raises LoginRefused, HashingBusy."""
    pool, typed, address = current_resources().pool, digest_of(email.strip().lower()), client_network()
    require_open(typed)
    found = pool.run(lambda conn: accounts.find(conn, email.strip()))
    stored = pool.run(lambda conn: accounts.password_of(conn, found.id)) if found else None
    fits = is_password(password, stored)
    if found is None or not fits or not found.is_enabled:
        pool.run(lambda conn: _note_failure(conn, typed, address, found))
        raise LoginRefused("no account has this e-mail address and password")
    pool.run(lambda conn: sessions.forget_failures(conn, typed, address))
    return found


def new_session(account: Account) -> str:
    """Start a session for the account and return the secret for its cookie."""
    secret = secrets.token_urlsafe(32)
    current_resources().pool.run(lambda conn: _start(conn, account, digest_of(secret)))
    log.info("logged_in", account_id=account.id, role=account.role)
    return secret


def new_session_of(secret: str) -> NewSession:
    """Return the session of this browser that the secret is for."""
    return NewSession(digest=digest_of(secret), address=request.remote_addr)


def set_cookie(response: Response, secret: str) -> Response:
    """Give the browser the session's secret, and forget what belonged to whoever used the browser before."""
    browser_session.pop(CSRF_KEY, None)
    response.set_cookie(cookie_name(), secret, secure=_is_https(), httponly=True, samesite="Strict", path="/")
    return response


def log_out(response: Response) -> Response:
    """End the session of this browser."""
    digest = session_digest()
    current_resources().pool.run(lambda conn: sessions.end(conn, digest))
    browser_session.pop(CSRF_KEY, None)
    response.delete_cookie(cookie_name(), secure=_is_https(), httponly=True, samesite="Strict", path="/")
    return response


def comes_from_our_pages() -> bool:
    """Whether a state change was asked for by a page of the console.

    Browsers say so in Sec-Fetch-Site. Older ones, and those on plain HTTP, name the page's origin.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin"
    return request.headers.get("Origin") == origin(current_resources().settings.public_url)


def comes_from_elsewhere() -> bool:
    """Whether the browser follows a link of another site, and so leaves the session's cookie out."""
    return request.headers.get("Sec-Fetch-Site") == "cross-site"


def origin(url: str) -> str:
    """Return scheme, host and port of a URL, as browsers write an origin."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def local_path(given: str) -> str:
    """Return the address to which a log-in goes on, if it is one of ours; else the first page."""
    parts = urlsplit(given)
    fits = given.startswith("/") and not given.startswith(("//", "/\\")) and given.isprintable()
    return given if fits and not parts.scheme and not parts.netloc and len(given) <= MOST_NEXT else "/"


def cookie_name() -> str:
    """Return the cookie's name: over HTTPS its prefix binds it to this host."""
    return "__Host-mailroom-login" if _is_https() else "mailroom-login"


def client_network() -> str:
    """Return the sender's address, of an IPv6 address the network that one customer has."""
    return network_of(request.remote_addr or "")


def require_open(typed: bytes) -> None:
    """Raise LoginRefused while too many log-ins have failed: to the account of this digest, or from this address."""
    address = client_network()
    if wait := current_resources().pool.run(lambda conn: sessions.seconds_closed(conn, typed, address)):
        raise LoginRefused(
            f"there were too many tries; try again in {round(wait / 60) + 1} minutes, or ask an admin for a link",
            wait_seconds=wait,
        )


def _is_https() -> bool:
    return current_resources().settings.public_url.startswith("https://")


def _start(conn: Connection, account: Account, digest: bytes) -> None:
    sessions.start(conn, account.id, digest)
    audit.write(conn, _login_entry(account, allowed=True))


def _note_failure(conn: Connection, typed: bytes, address: str, account: Account | None) -> None:
    sessions.note_failure(conn, typed, address)
    if account is not None:
        audit.write(conn, _login_entry(account, allowed=False))


def _login_entry(account: Account, *, allowed: bool) -> NewAuditEntry:
    return NewAuditEntry(
        who=account.email,
        via="page",
        verb="log_in",
        target=account.email,
        allowed=allowed,
        address=request.remote_addr,
    )
