"""Gives each request to the API an id, and a line in the log without address, query or body."""

from __future__ import annotations

import re
import time
import uuid
from typing import TYPE_CHECKING

import structlog
from flask import g, request

if TYPE_CHECKING:
    from flask import Flask, Response

API = "/api/"
HEADER = "X-Request-ID"
SANE = re.compile(r"[A-Za-z0-9._-]{8,64}")

log = structlog.get_logger(__name__)


def request_id() -> str:
    """The id of the current request: the sender's if it is sane, else one of ours."""
    if "request_id" not in g:
        given = request.headers.get(HEADER, "")
        g.request_id = given if SANE.fullmatch(given) else uuid.uuid4().hex
    return str(g.request_id)


def accompany(app: Flask) -> None:
    """Follow every request below /api/ from its beginning to its answer, those of unknown addresses, too."""
    app.before_request(_begin)
    app.after_request(_end)
    app.teardown_request(_forget)


def is_api() -> bool:
    """Whether the current request is to the API rather than to a page."""
    return request.path.startswith(API)


def _begin() -> None:
    g.began = time.perf_counter()
    if is_api():
        structlog.contextvars.bind_contextvars(request=request_id())


def _end(response: Response) -> Response:
    if is_api():
        response.headers[HEADER] = request_id()
        log.info(
            "api_request",
            method=request.method,
            route=request.url_rule.rule if request.url_rule else None,
            status=response.status_code,
            milliseconds=round((time.perf_counter() - g.began) * 1000, 1),
            token=g.get("token_name"),
        )
    return response


def _forget(_: BaseException | None) -> None:
    structlog.contextvars.unbind_contextvars("request")
