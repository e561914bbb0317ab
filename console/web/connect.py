"""Leads an admin who connects Front from our link to Front's consent page, and back."""

from __future__ import annotations

import secrets
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog
from flask import Blueprint, make_response, redirect, render_template, request, session, url_for

from console.issued_secrets import digest_of, require_oauth_app
from console.web import connect_refusals
from console.web.problems import page
from console.web.resources import current
from shared.db.reading import events
from shared.db.tenants import connections
from shared.db.tenants import consent as consent_rows
from shared.db.tenants.tenants import LONGEST_NAME
from shared.errors import ConfigurationError, MailroomError
from shared.front.oauth import authorization_url
from shared.models import Token
from shared.text import clean

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue
    from flask.wrappers import Response

    from console.web.connect_refusals import Refusal
    from console.web.resources import Resources
    from shared.db.reading.events import FirstEvent
    from shared.db.tenants.consent import Consent
    from shared.front.objects import Identity
    from shared.models import Tokens
    from shared.settings import Settings


MOST_LINKS = 5

EXCHANGE_SECONDS = 10.0
IDENTITY_SECONDS = 8.0
log = structlog.get_logger(__name__)

LISTENS_FOR = timedelta(minutes=10)
AGAIN_SECONDS = 3
#: What a state means to somebody who has never seen Mailroom.
STATES = {
    "processing": "it is being worked on",
    "done": "nothing is left to do",
    "ignored": "nothing has to be done for events of this type",
    "parked": "it waits until the account can work",
    "failed": "the work on it failed; tell the people who sent you the link",
}

connected_bp = Blueprint("connected", __name__)

bp = Blueprint("connecting", __name__)


@dataclass(frozen=True, kw_only=True)
class Connected:
    """Which tenant this browser connected, to which company, and when."""

    tenant_id: int
    company_id: str
    company: str
    at: datetime


def secret() -> str:
    """What only this browser holds; made when it first comes."""
    found: str = session.setdefault("browser", secrets.token_urlsafe(32))
    return found


def known_secret() -> str:
    """The same, empty for a browser that never came."""
    return str(session.get("browser", ""))


def remember_link(digest: bytes, token: str) -> None:
    """Keep the link that this browser came with, to lead it back there; a few, since there may be several tabs."""
    links = {**session.get("links", {}), digest.hex(): token}
    session["links"] = dict(list(links.items())[-MOST_LINKS:])


def link_of(digest: bytes) -> str | None:
    """The link's token, if this browser came with it."""
    token: str | None = session.get("links", {}).get(digest.hex())
    return token


def remember_connected(connected: Connected) -> None:
    """Let this browser watch the first event come in."""
    session["connected"] = {**asdict(connected), "at": connected.at.isoformat()}


def read_connected() -> Connected | None:
    """What this browser connected last."""
    kept: dict[str, Any] | None = session.get("connected")
    return Connected(**{**kept, "at": datetime.fromisoformat(kept["at"])}) if kept else None


def redirect_uri(settings: Settings) -> str:
    """Where Front sends browsers back to; the app's OAuth page must list it."""
    return f"{settings.public_url}/oauth/callback"


def connect_with_code(held: Resources, consent: Consent, code: str) -> Connected:
    """Connect the tenant whose link the consent was given with, and end the link.

    Raises what TokenEndpoint.exchange and TenantClient.me raise, and NotBound; then nothing was changed and the tokens
    are forgotten.
    """
    tokens = held.token_endpoint.exchange(
        code, redirect_uri=redirect_uri(held.settings), until=time.monotonic() + EXCHANGE_SECONDS
    )
    owner = _owner(held, consent, tokens)
    secret = held.vault.seal(
        consent.tenant_id, {"access_token": tokens.access_token, "refresh_token": tokens.refresh_token}
    )
    with held.pool.transaction() as conn:
        consent_rows.bind(conn, consent.tenant_id, owner.company_id)
        at = consent_rows.use_link(conn, consent.link)
        connections.connect(conn, consent.tenant_id, kind="oauth", secret=secret, expires_at=tokens.expires_at)
    log.info("tenant_connected", tenant=consent.tenant_id, company=owner.company_id)
    # Browsers drop a cookie over 4 kB, and forget with it what was connected.
    name = clean(owner.name, LONGEST_NAME)
    return Connected(tenant_id=consent.tenant_id, company_id=owner.company_id, company=name, at=at)


def _owner(held: Resources, consent: Consent, tokens: Tokens) -> Identity:
    """The company that the tokens are of."""
    # Until Front has said which company it is, its calls are counted for the tenant.
    counted_for = consent.company_id or f"tenant-{consent.tenant_id}"
    token = Token(tenant_id=consent.tenant_id, company_id=counted_for, version=0, access_token=tokens.access_token)
    client = held.front.for_tenant(token)
    with client.until(time.monotonic() + IDENTITY_SECONDS):
        return client.me()


@connected_bp.get("/connected")
def show() -> Response:
    """What was connected, and the first event since. Only the browser that connected it gets to see it."""
    connected = read_connected()
    if connected is None:
        return page(
            404, "Nothing was connected in this browser", "Open the link that you were sent, and allow access in Front."
        )
    first = current().pool.run(lambda conn: events.first_since(conn, connected.tenant_id, connected.at))
    listens = datetime.now(UTC) - connected.at < LISTENS_FOR
    answer = make_response(
        render_template("connected.html", connected=connected, first=first, listens=listens, states=STATES)
    )
    if listens and _is_open(first):
        answer.headers["Refresh"] = str(AGAIN_SECONDS)
    return answer


def _is_open(first: FirstEvent | None) -> bool:
    return first is None or first.state == "processing"


@bp.get("/connect/<token>")
def begin(token: str) -> ResponseReturnValue:
    """Send the browser to Front's consent page, if the link is good. The link stays good."""
    held = current()
    digest = digest_of(token)
    link = held.pool.run(lambda conn: consent_rows.find_link(conn, digest))
    if link is None or link.state != "open":
        return _refused(
            connect_refusals.LINKS[link.state if link else "unknown"], tenant=link.tenant_id if link else None
        )
    try:
        require_oauth_app(held.settings)
    except ConfigurationError as exc:
        log.warning("not_connected", tenant=link.tenant_id, code=exc.code, reason=str(exc))
        return connect_refusals.shown(connect_refusals.of_error(exc))
    remember_link(digest, token)
    return redirect(_to_front(held, digest), 302)


@bp.get("/oauth/callback")
def come_back() -> ResponseReturnValue:
    """Take the code or the denial that Front sends the browser back with. Each state works once."""
    held = current()
    digests = {"state": digest_of(request.args.get("state", "")), "browser": digest_of(known_secret())}
    consent = held.pool.run(lambda conn: consent_rows.take_consent(conn, **digests))
    if consent is None:
        return _refused(connect_refusals.STATES["unknown"])
    code = request.args.get("code", "")
    if reason := _objection(consent, is_given=bool(code) and "error" not in request.args):
        return _refused(connect_refusals.STATES[reason], tenant=consent.tenant_id, again=_again(consent))
    return _connect(held, consent, code)


def _to_front(held: Resources, link: bytes) -> str:
    state = secrets.token_urlsafe(32)
    ask = partial(consent_rows.ask_consent, state=digest_of(state), link=link, browser=digest_of(secret()))
    held.pool.run(ask)
    settings = held.settings
    return authorization_url(
        settings.front_app_url,
        client_id=settings.front_client_id,
        redirect_uri=redirect_uri(settings),
        state=state,
    )


def _objection(consent: Consent, *, is_given: bool) -> str | None:
    if not consent.same_browser:
        return "elsewhere"
    if not consent.in_time:
        return "late"
    return None if is_given else "denied"


def _connect(held: Resources, consent: Consent, code: str) -> ResponseReturnValue:
    try:
        connected = connect_with_code(held, consent, code)
    except MailroomError as exc:
        log.warning("not_connected", tenant=consent.tenant_id, code=exc.code, reason=str(exc))
        return connect_refusals.shown(connect_refusals.of_error(exc), again=_again(consent))
    remember_connected(connected)
    return redirect(url_for("connected.show"), 303)


def _again(consent: Consent) -> str | None:
    """Return the URL of the link, for the browser that opened it."""
    token = link_of(consent.link)
    return token and url_for("connecting.begin", token=token)


def _refused(refusal: Refusal, *, tenant: int | None = None, again: str | None = None) -> Response:
    log.info("not_connected", tenant=tenant, reason=refusal.title)
    return connect_refusals.shown(refusal, again=again)
