"""Log in with an account of the OpenID provider at OIDC_ISSUER.

The form of the log-in page leads to the provider, which sends the browser back to OIDC_RETURN. What must be the same
then (state, nonce, code verifier) waits in PostgreSQL. The browser keeps one secret, in a cookie that it sends along
when it comes back from another site.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from flask import abort, make_response, render_template, request
from flask import session as browser_session
from werkzeug.urls import iri_to_uri

from console.access.provider import OIDC_RETURN
from console.issued_secrets import digest_of
from console.operations.accounts import IdentityUnknown, log_in_with_identity, note_refused_identity
from console.web import login
from console.web.pages.entrance import login_form, refused_login
from console.web.pages.shell import bp
from console.web.resources import current_resources
from shared.db.accounts import sessions
from shared.db.accounts.sessions import WaitingLogin
from shared.errors import MailroomError

if TYPE_CHECKING:
    from flask import Response
    from flask.typing import ResponseReturnValue

    from shared.db.accounts.accounts import Account
    from shared.db.core.pool import Connection
    from shared.openid import OpenIdProvider

BROWSER_KEY = "oidc"  # in the browser's session: the secret by which a returning browser is known
LONGEST_ANSWER = 4_000  # characters of a code

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class LoginRefusal:
    """The reason why nobody was logged in, for the audit, and the text for the person."""

    reason: str
    text: str
    status: int = 403


AGAIN = "begin again here: a log-in works once, in the browser that began it, within ten minutes"
UNKNOWN_STATE = LoginRefusal(reason="unknown state", text=AGAIN)
OTHER_BROWSER = LoginRefusal(reason="state of another browser", text=AGAIN)
DENIED = LoginRefusal(reason="the provider let nobody in", text="the provider did not let you in")
UNPROVEN = "the provider's answer could not be verified; try again, or ask an admin: the audit names the check"
NOT_KNOWN = "nobody here is let in with this account of the provider; ask an admin, whom the audit tells why"


@bp.post("/login/oidc")
def begin_oidc() -> ResponseReturnValue:
    """Lead the browser to the provider, to log in there; who is logged in binds the account to their identity there."""
    account = login.current_account()
    provider, target = _provider(), login.local_path(request.form.get("next", "/"))
    browser = browser_session.setdefault(BROWSER_KEY, secrets.token_urlsafe(32))
    try:
        login.require_open(digest_of(browser))
        begun = provider.begin()
    except login.LoginRefused as refused:
        return refused_login(target, refused)
    except MailroomError as exc:
        return _without_provider(provider, target, exc)
    waiting = WaitingLogin(
        browser=digest_of(browser),
        nonce=begun.nonce,
        code_verifier=begun.code_verifier,
        target=target,
        account_id=account.id if account else None,
    )
    state, address = digest_of(begun.state), login.client_network()
    current_resources().pool.run(lambda conn: sessions.save_waiting(conn, state, waiting, address))
    # A redirect would need a policy that lets the form with the password lead to other hosts, too.
    return _go_on(begun.url, title=f"Going on to {provider.host}")


@bp.get(OIDC_RETURN)
def finish_oidc() -> ResponseReturnValue:
    """Log the browser in that comes back from the provider, if its account is one of ours."""
    provider, state = _provider(), digest_of(request.args.get("state", ""))
    browser = digest_of(browser_session.get(BROWSER_KEY, ""))
    try:
        login.require_open(browser)
    except login.LoginRefused as refused:
        return refused_login("/", refused)
    waiting = current_resources().pool.run(lambda conn: sessions.take_waiting(conn, state))
    if waiting is None:
        return _refuse(UNKNOWN_STATE)
    if waiting.browser != browser:
        return _refuse(OTHER_BROWSER)
    code = request.args.get("code", "")
    if "error" in request.args or not 0 < len(code) <= LONGEST_ANSWER:
        return _refuse(DENIED, target=waiting.target)
    return _log_in(provider, waiting, code)


def _log_in(provider: OpenIdProvider, waiting: WaitingLogin, code: str) -> Response:
    from shared.openid import IdentityRefused  # noqa: PLC0415 -- its packages are an extra

    target, secret = waiting.target, secrets.token_urlsafe(32)
    try:
        found = provider.finish(
            code, nonce=waiting.nonce, code_verifier=waiting.code_verifier, answered_by=request.args.get("iss")
        )
    except IdentityRefused as exc:
        return _refuse(LoginRefusal(reason=f"refused: {exc}", text=UNPROVEN), target=target)
    except MailroomError as exc:
        return _without_provider(provider, target, exc)
    try:
        run, session = current_resources().pool.run, login.new_session_of(secret)
        account = log_in_with_identity(run, found, session, account_id=waiting.account_id)
    except IdentityUnknown as exc:
        return _refuse(LoginRefusal(reason=exc.reason, text=NOT_KNOWN), target=target, account=exc.account)
    log.info("logged_in", account_id=account.id, role=account.role, by="oidc")
    browser_session.pop(BROWSER_KEY, None)
    # A browser leaves a Strict cookie out of a redirect that began elsewhere; a page that goes on by itself is ours.
    return login.set_cookie(_go_on(target, title="One moment"), secret)


def _go_on(target: str, *, title: str) -> Response:
    answer = make_response(render_template("pages/again.html", title=title, address=target))
    answer.headers["Refresh"] = f"0;url={iri_to_uri(target)}"
    return answer


def _refuse(refusal: LoginRefusal, *, target: str = "/", account: Account | None = None) -> Response:
    """Write the refusal into the audit, count it for the sender's address, and show the log-in page."""
    address, browser = login.client_network(), digest_of(browser_session.get(BROWSER_KEY, ""))
    sender = request.remote_addr

    def note(conn: Connection) -> None:
        sessions.note_failure(conn, browser, address)
        note_refused_identity(conn, account, reason=refusal.reason, address=sender)

    current_resources().pool.run(note)
    log.info("login_refused", reason=refusal.reason, account_id=account and account.id)
    return login_form(target, refusal=refusal.text, status=refusal.status)


def _without_provider(provider: OpenIdProvider, target: str, error: MailroomError) -> Response:
    log.warning("oidc_unavailable", code=error.code, reason=str(error))
    text = f"{provider.host} cannot be asked at the moment; log in with your password, or try again in a minute"
    return login_form(target, refusal=text, status=503)


def _provider() -> OpenIdProvider:
    return current_resources().provider or abort(404)
