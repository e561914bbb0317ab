"""Lead an admin who connects Front from our link to Front's consent page, and back.

A browser opens `/connect/<token>`, which says who asks for what. A button there leads to Front. Front sends the
browser back to `/oauth/callback` with a code, which we exchange for tokens. `/connected` then shows the first event.
"""

from __future__ import annotations

import hmac
import secrets
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import structlog
from flask import Blueprint, make_response, redirect, render_template, request, session, url_for

from console.issued_secrets import digest_of, require_oauth_app
from console.web import problems
from console.web.login import origin
from console.web.problems import FORM, problem_page
from console.web.resources import current_resources
from shared.db.reading import events
from shared.db.tenants import connections, tenants
from shared.db.tenants import consent as consent_rows
from shared.db.tenants.consent import OtherCompany
from shared.db.tenants.tenants import LONGEST_NAME
from shared.errors import ConfigurationError, MailroomError
from shared.front.oauth import authorization_url
from shared.models import Token
from shared.text import clean

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue
    from flask.wrappers import Response

    from console.web.problems import Refusal
    from console.web.resources import ConsoleResources
    from shared.db.reading.events import FirstEvent
    from shared.db.tenants.consent import ConnectLink, Consent
    from shared.front.objects import Identity
    from shared.models import Tokens
    from shared.settings import Settings

#: What pages may load, and who may show them; where their forms may lead is added.
PAGE_POLICY = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'"
EXCHANGE_SECONDS = 10.0
IDENTITY_SECONDS = 8.0
MOST_LINKS = 5  # remembered for one browser, which may have several tabs
LISTENING_TIME = timedelta(minutes=10)
REFRESH_SECONDS = 3
#: Each action of a policy in words for an admin of the customer; a tag's id says nothing to them.
ACTION_TEXTS = {
    "none": "Conversations stay as they are.",
    "archive": "Their conversations are archived.",
    "trash": "Their conversations are moved to the trash.",
    "tag": "Their conversations get a tag.",
}
#: Each state of an event in words for somebody who has never seen Mailroom.
STATE_TEXTS = {
    "processing": "it is being worked on",
    "done": "nothing is left to do",
    "ignored": "nothing has to be done for events of this type",
    "parked": "it waits until the account can work",
    "failed": "the work on it failed; tell the people who sent you the link",
}

log = structlog.get_logger(__name__)
bp = Blueprint("connect", __name__)


@dataclass(frozen=True, kw_only=True)
class NewConnection:
    """The tenant that this browser connected, its company, and the moment."""

    tenant_id: int
    company_id: str
    company: str
    at: datetime
    tenant: str = ""


@bp.get("/connect/<token>")
def start(token: str) -> ResponseReturnValue:
    """Say who asks, for which tenant, and what will be done, if the link is open. Nothing is stored yet."""
    link = _open_link(token)
    if not isinstance(link, consent_rows.ConnectLink):
        return link
    settings = current_resources().settings
    page = render_template(
        "connect.html",
        link=link,
        host=urlsplit(settings.connect_origin).netloc,
        action=ACTION_TEXTS[link.action.partition(":")[0]],
        form_token=form_token(digest_of(token)),
    )
    answer = make_response(page)
    # Chromium holds every redirect after a form against this header, and Front may lead to another host to log in.
    front = origin(settings.front_app_url)
    answer.headers["Content-Security-Policy"] = f"{PAGE_POLICY}; form-action 'self' https: {front}"
    return answer


@bp.post("/connect/<token>")
def go_on(token: str) -> ResponseReturnValue:
    """Send the browser to Front's consent page, if it comes from our page and the link is open. The link stays open."""
    digest = digest_of(token)
    if not _comes_from_our_page(digest):
        return _refused(FORM, again=url_for("connect.start", token=token))
    link = _open_link(token)
    if not isinstance(link, consent_rows.ConnectLink):
        return link
    remember_link(digest, token)
    return redirect(_consent_page_url(current_resources(), digest), 303)


@bp.get("/oauth/callback")
def callback() -> ResponseReturnValue:
    """Take the code or the denial with which Front sends the browser back. Each state works once.

    A browser that comes again, by reload or the back button, sees what it connected.
    """
    resources = current_resources()
    state, browser = digest_of(request.args.get("state", "")), digest_of(known_browser_secret())
    consent = resources.pool.run(lambda conn: consent_rows.take_state(conn, state=state, browser=browser))
    if consent is None and was_connected_by(state):
        return redirect(url_for("connect.connected"), 303)
    if consent is None:
        return _refused(problems.STATES["unknown"])
    code = request.args.get("code", "")
    if reason := _refusal_reason(consent, is_given=bool(code) and "error" not in request.args):
        return _refused(problems.STATES[reason], tenant_id=consent.tenant_id, again=_link_url(consent))
    try:
        connection = connect_with_code(resources, consent, code)
    except MailroomError as exc:
        return _failed(exc, tenant_id=consent.tenant_id, again=_link_url(consent))
    remember_connection(connection, state)
    return redirect(url_for("connect.connected"), 303)


@bp.get("/connected")
def connected() -> Response:
    """Show the browser that connected a tenant what it connected, and the first event since."""
    connection = remembered_connection()
    if connection is None:
        return problem_page(
            404, "Nothing was connected in this browser", "Open the link that you were sent, and allow access in Front."
        )
    first = current_resources().pool.run(lambda conn: events.first_since(conn, connection.tenant_id, connection.at))
    listening = datetime.now(UTC) - connection.at < LISTENING_TIME
    page = render_template(
        "connected.html", connection=connection, first=first, listening=listening, state_texts=STATE_TEXTS
    )
    answer = make_response(page)
    if listening and _may_change(first):
        answer.headers["Refresh"] = str(REFRESH_SECONDS)
    return answer


def connect_with_code(resources: ConsoleResources, consent: Consent, code: str) -> NewConnection:
    """Exchange the code, connect the tenant of the consent's link, and end the link.

    Raises NotBound and whatever TokenEndpoint.exchange and TenantClient.me raise. Then nothing was changed, and nobody
    keeps the tokens.
    """
    until = time.monotonic() + EXCHANGE_SECONDS
    tokens = resources.token_endpoint.exchange(code, redirect_uri=redirect_uri(resources.settings), until=until)
    owner = _owner(resources, consent, tokens)
    if consent.company_id not in {None, owner.company_id}:
        raise OtherCompany(f"the link is for {consent.company_id}, and the consent came from {owner.company_id}")
    secret = resources.vault.seal(
        consent.tenant_id, {"access_token": tokens.access_token, "refresh_token": tokens.refresh_token}
    )
    with resources.pool.transaction() as conn:
        tenants.act_as(conn, "an admin in Front, by a connect link")
        consent_rows.bind_company(conn, consent.tenant_id, owner.company_id)
        at = consent_rows.use_link(conn, consent.link)
        connections.connect(conn, consent.tenant_id, kind="oauth", secret=secret, expires_at=tokens.expires_at)
    log.info("tenant_connected", tenant_id=consent.tenant_id, company_id=owner.company_id)
    # A browser drops a cookie over 4 kB, and with it this connection.
    name = clean(owner.name, LONGEST_NAME)
    return NewConnection(
        tenant_id=consent.tenant_id, company_id=owner.company_id, company=name, at=at, tenant=consent.tenant
    )


def redirect_uri(settings: Settings) -> str:
    """Return the URL to which Front sends browsers back; the app's OAuth page must list it."""
    return f"{settings.connect_origin}/oauth/callback"


def _owner(resources: ConsoleResources, consent: Consent, tokens: Tokens) -> Identity:
    """Ask Front for the company that the tokens belong to."""
    # Until Front has named the company, its calls count against a budget of the tenant.
    budget_owner = consent.company_id or f"tenant-{consent.tenant_id}"
    token = Token(tenant_id=consent.tenant_id, company_id=budget_owner, version=0, access_token=tokens.access_token)
    client = resources.front.for_tenant(token)
    with client.until(time.monotonic() + IDENTITY_SECONDS):
        return client.me()


def _consent_page_url(resources: ConsoleResources, link: bytes) -> str:
    state = secrets.token_urlsafe(32)
    ask = partial(consent_rows.save_state, state=digest_of(state), link=link, browser=digest_of(browser_secret()))
    resources.pool.run(ask)
    settings = resources.settings
    return authorization_url(
        settings.front_app_url,
        client_id=settings.front_client_id,
        redirect_uri=redirect_uri(settings),
        state=state,
    )


def _open_link(token: str) -> ConnectLink | Response:
    """Return the link, or the page that says why it cannot be used."""
    resources, digest = current_resources(), digest_of(token)
    link = resources.pool.run(lambda conn: consent_rows.find_link(conn, digest))
    if link is None or link.state != "open":
        refusal = problems.LINKS[link.state if link else "unknown"]
        return _refused(refusal, tenant_id=link.tenant_id if link else None)
    try:
        require_oauth_app(resources.settings)
    except ConfigurationError as exc:
        return _failed(exc, tenant_id=link.tenant_id)
    return link


def _comes_from_our_page(link: bytes) -> bool:
    """Return whether the page of this link, in this browser, sent the form, and not another site."""
    site, sender = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    # Our pages send no referrer, so browsers name their origin as "null".
    ours = {None, "null", origin(current_resources().settings.connect_origin)}
    if site not in {None, "same-origin"} or sender not in ours:
        return False
    given = request.form.get("form_token", "")
    return bool(known_browser_secret()) and hmac.compare_digest(given.encode(), form_token(link).encode())


def _refusal_reason(consent: Consent, *, is_given: bool) -> str | None:
    if not consent.same_browser:
        return "elsewhere"
    if not consent.in_time:
        return "late"
    return None if is_given else "denied"


def _may_change(first: FirstEvent | None) -> bool:
    return first is None or first.state == "processing"


def _link_url(consent: Consent) -> str | None:
    """Return the URL of the link, for the browser that opened it."""
    token = remembered_token(consent.link)
    return token and url_for("connect.start", token=token)


def _refused(refusal: Refusal, *, tenant_id: int | None = None, again: str | None = None) -> Response:
    log.info("not_connected", tenant_id=tenant_id, reason=refusal.title)
    return problems.refusal_page(refusal, again=again)


def _failed(error: MailroomError, *, tenant_id: int, again: str | None = None) -> Response:
    log.warning("not_connected", tenant_id=tenant_id, code=error.code, reason=str(error))
    return problems.refusal_page(problems.refusal_of(error), again=again)


# The browser's session, a signed cookie, from here on.


def browser_secret() -> str:
    """Return the secret that only this browser holds; make it at the first visit."""
    found: str = session.setdefault("browser", secrets.token_urlsafe(32))
    return found


def known_browser_secret() -> str:
    """Return the same secret, empty for a browser without one."""
    return str(session.get("browser", ""))


def form_token(link: bytes) -> str:
    """Return the token by which a form of this browser's page of the link is known."""
    return hmac.digest(browser_secret().encode(), link, "sha256").hex()


def remember_link(digest: bytes, token: str) -> None:
    """Keep the link that this browser opened, to lead it back there; only the latest few."""
    links = {**session.get("links", {}), digest.hex(): token}
    session["links"] = dict(list(links.items())[-MOST_LINKS:])


def remembered_token(digest: bytes) -> str | None:
    """Return the link's token, if this browser opened the link."""
    token: str | None = session.get("links", {}).get(digest.hex())
    return token


def remember_connection(connection: NewConnection, state: bytes) -> None:
    """Let this browser watch the first event come in, also when it comes back with the same state."""
    session["connected"] = {**asdict(connection), "at": connection.at.isoformat()}
    session["connected_by"] = state.hex()


def was_connected_by(state: bytes) -> bool:
    """Whether this browser made its last connection with the state of this digest."""
    return bool(session.get("connected_by") == state.hex())


def remembered_connection() -> NewConnection | None:
    """Return the last connection that this browser made."""
    stored: dict[str, Any] | None = session.get("connected")
    return NewConnection(**{**stored, "at": datetime.fromisoformat(stored["at"])}) if stored else None
