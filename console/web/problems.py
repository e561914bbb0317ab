"""How the console says that something went wrong: a page for people, a problem document below /api/."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from flask import Response, render_template, request
from werkzeug.exceptions import HTTPException, InternalServerError, ServiceUnavailable

from console.api.problems import is_api, of_http
from shared.errors import StoreUnavailable

if TYPE_CHECKING:
    from flask import Flask

#: What people read; HTTP's own words where there are none of ours.
SAID = {
    404: (
        "There is no page here",
        "If somebody sent you a link for connecting Front, open the whole link: it may have been cut in two.",
    ),
    405: ("That cannot be done here", "Open the page from the link that you were given."),
    500: ("Something went wrong on our side", "It is written down. Try again in a minute."),
    503: ("Not available at the moment", "A server that is needed does not answer. Try again in a minute."),
}
log = structlog.get_logger(__name__)


def register_problems(app: Flask) -> None:
    """Answer every error in words; a bug says nothing of itself, and the log no address with a secret in it."""
    app.register_error_handler(HTTPException, answer)
    app.register_error_handler(StoreUnavailable, _away)
    app.register_error_handler(Exception, _bug)


def page(status: int, title: str, text: str, *, again: str | None = None) -> Response:
    """A page that says why it does not go on, and what to do; `again` is where to try once more."""
    return Response(render_template("problem.html", title=title, text=text, again=again), status)


def answer(exc: HTTPException) -> Response:
    """What HTTP itself has a name for."""
    if is_api():
        return of_http(exc)
    status = exc.code or 500
    said = page(status, *SAID.get(status, (exc.name, exc.description or exc.name)))
    for name, value in exc.get_headers():
        if name != "Content-Type":
            said.headers[name] = value  # Allow, for example
    return said


def _away(exc: StoreUnavailable) -> Response:
    log.warning("store_unavailable", endpoint=request.endpoint, reason=str(exc))
    said = answer(ServiceUnavailable("PostgreSQL or Redis does not answer; try again"))
    said.headers["Retry-After"] = "5"
    return said


def _bug(exc: Exception) -> Response:
    log.error("page_failed", endpoint=request.endpoint, exc_info=exc)
    return answer(InternalServerError())
