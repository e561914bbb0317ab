"""Answer errors: with a page for people, with a problem document below /api/."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from flask import Response, render_template, request
from werkzeug.exceptions import HTTPException, InternalServerError, ServiceUnavailable

from console.api.problems import http_problem, is_api_request
from shared.errors import StoreUnavailable

if TYPE_CHECKING:
    from flask import Flask

#: Title and text for people, by status. For other statuses HTTP's own words are shown.
TEXTS = {
    404: (
        "There is no page here",
        "If somebody sent you a link for connecting Front, open the whole link: it may have been cut in two.",
    ),
    405: ("That cannot be done here", "Open the page from the link that you were given."),
    500: ("Something went wrong on our side", "It is written down. Try again in a minute."),
    503: ("Not available at the moment", "A server that is needed does not answer. Try again in a minute."),
}
RETRY_AFTER = "5"  # seconds

log = structlog.get_logger(__name__)


def register_problems(app: Flask) -> None:
    """Answer every error in words. A bug tells nothing of itself, and the log gets no address with a secret in it."""
    app.register_error_handler(HTTPException, http_error)
    app.register_error_handler(StoreUnavailable, _store_unavailable)
    app.register_error_handler(Exception, _bug)


def problem_page(status: int, title: str, text: str, *, again: str | None = None) -> Response:
    """Render a page that says why it does not go on, and what to do; `again` is the URL to try once more."""
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
    response.headers["Retry-After"] = RETRY_AFTER
    return response


def _bug(exc: Exception) -> Response:
    log.error("page_failed", endpoint=request.endpoint, exc_info=exc)
    return http_error(InternalServerError())
