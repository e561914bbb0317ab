"""Leads an admin who connects Front from our link to Front's consent page, and back."""

from __future__ import annotations

import secrets
from functools import partial
from typing import TYPE_CHECKING

import structlog
from flask import Blueprint, redirect, request, url_for

from console.api_tokens import digest_of
from console.connect_links import require_app
from console.web import browser, refusals
from console.web.granting import connect_with_code, redirect_uri
from console.web.resources import current
from shared.db import connect_links, consents
from shared.errors import ConfigurationError, MailroomError
from shared.front.oauth import authorization_url

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue
    from flask.wrappers import Response

    from console.web.refusals import Refusal
    from console.web.resources import Resources
    from shared.db.consents import Consent

bp = Blueprint("connecting", __name__)
log = structlog.get_logger(__name__)


@bp.get("/connect/<token>")
def begin(token: str) -> ResponseReturnValue:
    """Send the browser to Front's consent page, if the link is good. The link stays good."""
    held = current()
    digest = digest_of(token)
    link = held.pool.run(lambda conn: connect_links.find(conn, digest))
    if link is None or link.state != "open":
        return _refused(refusals.LINKS[link.state if link else "unknown"], tenant=link.tenant_id if link else None)
    try:
        require_app(held.settings)
    except ConfigurationError as exc:
        log.warning("not_connected", tenant=link.tenant_id, code=exc.code, reason=str(exc))
        return refusals.shown(refusals.of_error(exc))
    browser.remember_link(digest, token)
    return redirect(_to_front(held, digest), 302)


@bp.get("/oauth/callback")
def come_back() -> ResponseReturnValue:
    """Take the code or the denial that Front sends the browser back with. Each state works once."""
    held = current()
    digests = {"state": digest_of(request.args.get("state", "")), "browser": digest_of(browser.known_secret())}
    consent = held.pool.run(lambda conn: consents.take(conn, **digests))
    if consent is None:
        return _refused(refusals.STATES["unknown"])
    code = request.args.get("code", "")
    if reason := _objection(consent, is_given=bool(code) and "error" not in request.args):
        return _refused(refusals.STATES[reason], tenant=consent.tenant_id, again=_again(consent))
    return _connect(held, consent, code)


def _to_front(held: Resources, link: bytes) -> str:
    state = secrets.token_urlsafe(32)
    ask = partial(consents.ask, state=digest_of(state), link=link, browser=digest_of(browser.secret()))
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
        return refusals.shown(refusals.of_error(exc), again=_again(consent))
    browser.remember_connected(connected)
    return redirect(url_for("connected.show"), 303)


def _again(consent: Consent) -> str | None:
    """Return the URL of the link, for the browser that opened it."""
    token = browser.link_of(consent.link)
    return token and url_for("connecting.begin", token=token)


def _refused(refusal: Refusal, *, tenant: int | None = None, again: str | None = None) -> Response:
    log.info("not_connected", tenant=tenant, reason=refusal.title)
    return refusals.shown(refusal, again=again)
