"""Answers errors of the console: pages in words for people, problem documents below /api/.

A refusal of the consent has words for an admin who is no engineer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from flask import Response, render_template, request
from werkzeug.exceptions import HTTPException, InternalServerError, ServiceUnavailable

from console.api.problems import http_problem, is_api_request
from shared.db.tenants.consent import CompanyTaken, LinkEnded, LinkReplaced, OtherCompany
from shared.errors import BeingErased, ConfigurationError, MailroomError, StoreUnavailable, TokenUnavailable
from shared.front.oauth import AppUnknown, CodeRefused, NoRefreshToken

if TYPE_CHECKING:
    from flask import Flask


#: Title and text for people, by status. For other statuses HTTP's own words are shown.
TEXTS = {
    404: (
        "There is no page here",
        "If somebody sent you a link for connecting Front, open the whole link: it may have been cut in two.",
    ),
    405: ("That cannot be done here", "Open the page from the link that you were given."),
    408: ("That took too long", "Your browser did not send everything in time. Try again."),
    500: ("Something went wrong on our side", "It is written down. Try again in a minute."),
    503: ("Not available at the moment", "A server that is needed does not answer. Try again in a minute."),
}
RETRY_AFTER = 5  # seconds

log = structlog.get_logger(__name__)

NEW_LINK = "Ask the people who sent you this link for a new one."
TELL_THEM = "Tell the people who sent you the link; nothing is wrong on your side."


def register_problems(app: Flask) -> None:
    """Answer every error in words. A bug tells nothing of itself, and the log gets no address with a secret in it."""
    app.register_error_handler(HTTPException, http_error)
    app.register_error_handler(StoreUnavailable, _store_unavailable)
    app.register_error_handler(Exception, _bug)


def problem_page(status: int, title: str, text: str, *, again: str | None = None) -> Response:
    """Render a page that says why it does not go on, and what to do; `again` is the URL to try once more.

    The text gets a capital letter: an error's own words begin without one.
    """
    text = text[:1].upper() + text[1:]
    return Response(render_template("problem.html", title=title, text=text, again=again), status)


def http_error(exc: HTTPException) -> Response:
    """Answer an error of HTTP itself, with its headers."""
    if is_api_request():
        return http_problem(exc)
    status = exc.code or 500
    response = problem_page(status, *TEXTS.get(status, (exc.name, exc.description or exc.name)))
    for name, value in exc.get_headers():
        if name != "Content-Type":
            response.headers[name] = value  # Allow, for example
    return response


def _store_unavailable(exc: StoreUnavailable) -> Response:
    log.warning("store_unavailable", endpoint=request.endpoint, reason=str(exc))
    response = http_error(ServiceUnavailable("PostgreSQL or Redis does not answer; try again"))
    response.headers["Retry-After"] = str(RETRY_AFTER)
    return response


def _bug(exc: Exception) -> Response:
    log.error("page_failed", endpoint=request.endpoint, exc_info=exc)
    return http_error(InternalServerError())


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """One reason. `again`: a second try with the same link may help."""

    status: int
    title: str
    text: str
    again: bool = False


LINKS = {
    "unknown": Refusal(
        status=404,
        title="This link is not known",
        text=f"It may have been cut in two: open the whole link. If that does not help: {NEW_LINK}",
    ),
    "expired": Refusal(status=410, title="This link has expired", text=NEW_LINK),
    "used": Refusal(
        status=410,
        title="This link was used already",
        text=f"Each link connects Front once. If Front is not connected, or has to be connected anew: {NEW_LINK}",
    ),
    "replaced": Refusal(
        status=410,
        title="There is a newer link",
        text="Open the latest link that you were sent; it took the place of this one.",
    ),
}
STATES = {
    "unknown": Refusal(
        status=400,
        title="This page can be opened once only",
        text="You came here a second time, or not from Front. Open the link that you were sent. If it was used "
        "already, Front is connected; if not, allow access again.",
    ),
    "late": Refusal(
        status=400,
        title="That took too long",
        text="You have ten minutes to allow access in Front, after you left our page. Open the link again.",
        again=True,
    ),
    "elsewhere": Refusal(
        status=400,
        title="You began in another browser",
        text="Open the link that you were sent in the browser in which you are logged in to Front, and stay in it.",
    ),
    "denied": Refusal(
        status=403,
        title="Access was not allowed",
        text="Nothing was connected and nothing was changed. If you did not mean that, try again and allow access. "
        "Front lets admins of the company do that.",
        again=True,
    ),
}
FORM = Refusal(
    status=403,
    title="Please begin on this page",
    text="You came from another site, or your browser keeps no cookies for this page. Nothing was connected and "
    "nothing was changed. Open the link again and go on from there.",
    again=True,
)
UNANSWERED = Refusal(
    status=503,
    title="Front did not answer as it should",
    text="Nothing was connected and nothing was changed. Try again in a minute; the link is still good.",
    again=True,
)
#: The first row that fits is shown; for other errors the page says that Front did not answer.
ERRORS: tuple[tuple[type[MailroomError], Refusal], ...] = (
    (
        CodeRefused,
        Refusal(
            status=400,
            title="Front no longer knew of your consent",
            text="Your consent is good once, for a few minutes. Try again and allow access once more.",
            again=True,
        ),
    ),
    (
        AppUnknown,
        Refusal(status=502, title="Front does not know this app", text=f"The app is set up wrongly. {TELL_THEM}"),
    ),
    (
        NoRefreshToken,
        Refusal(
            status=502,
            title="Front gave access for an hour only",
            text=f"We could not renew that access, so nothing was connected. {TELL_THEM}",
        ),
    ),
    (TokenUnavailable, UNANSWERED),
    (
        StoreUnavailable,
        Refusal(
            status=503,
            title="Not available at the moment",
            text="A server that is needed does not answer. Try again in a minute with the same link; "
            "if Front was connected after all, the link says that it was used.",
            again=True,
        ),
    ),
    (
        CompanyTaken,
        Refusal(
            status=409,
            title="This Front company is connected already",
            text="It belongs to another account here, and stays there; nothing was changed. "
            "Ask the people who sent you the link which account is meant.",
        ),
    ),
    (
        OtherCompany,
        Refusal(
            status=409,
            title="This link is for another Front company",
            text="The account has a Front company, and you are logged in to another one; nothing was changed. "
            "Log in to the right company in Front and try again. A second company needs a link of its own.",
            again=True,
        ),
    ),
    (LinkReplaced, LINKS["replaced"]),
    (LinkEnded, LINKS["used"]),
    (
        BeingErased,
        Refusal(status=410, title="This account is being deleted", text=f"You can connect nothing to it. {NEW_LINK}"),
    ),
    (
        ConfigurationError,
        Refusal(status=503, title="Front cannot be connected here yet", text=f"The app is not set up. {TELL_THEM}"),
    ),
)


def refusal_of(error: MailroomError) -> Refusal:
    """Find the words for an error."""
    return next((refusal for kind, refusal in ERRORS if isinstance(error, kind)), UNANSWERED)


def refusal_page(refusal: Refusal, *, again: str | None = None) -> Response:
    """Render the page; with the link's URL, `again`, if a second try may help."""
    return problem_page(refusal.status, refusal.title, refusal.text, again=again if refusal.again else None)
