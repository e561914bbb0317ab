"""How the API says that something went wrong: problem details (RFC 9457) with our code."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import structlog
from flask import Response, request
from werkzeug.exceptions import HTTPException

from console.api.refusals import ApiRefusal, as_members, status_of
from console.api.requests import request_id
from shared.errors import MailroomError, StoreUnavailable

if TYPE_CHECKING:
    from flask import Blueprint

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER = "5"  # seconds
MOST_FAULTS = 1_000  # told of one request; the others are counted
AWAY = "PostgreSQL does not answer; send it again"
OUR_FAULT = "something went wrong on our side; the log has it under this request's id"

log = structlog.get_logger(__name__)


def problem(status: int, code: str, detail: str, **members: Any) -> Response:
    """An answer that people and programs can read."""
    body = {
        "type": f"urn:mailroom:problem:{code}",
        "title": code.replace("_", " "),
        "status": status,
        "detail": detail,
        "code": code,
        "instance": request_id(),
    }
    return Response(json.dumps(body | members, ensure_ascii=False), status, content_type=MEDIA_TYPE)


def register_problems(api: Blueprint) -> None:
    """Answer every error below the API with a problem."""
    api.register_error_handler(HTTPException, of_http)
    api.register_error_handler(Exception, of_error)


def of_http(exc: HTTPException) -> Response:
    """What HTTP itself has a name for."""
    answer = problem(exc.code or 500, exc.name.lower().replace(" ", "_"), exc.description or exc.name)
    for name, value in exc.get_headers():
        if name != "Content-Type":
            answer.headers[name] = value  # Allow, for example
    return answer


def of_error(exc: Exception) -> Response:
    """One of our errors under its code; a bug is a 500 that says nothing of itself."""
    if isinstance(exc, MailroomError) and status_of(exc) < 500:
        return _of_ours(exc)
    if isinstance(exc, MailroomError) and status_of(exc) == 503:
        log.warning("request_unanswered", endpoint=request.endpoint, code=exc.code, reason=str(exc))
        return _unanswered(exc)
    log.error("request_failed", endpoint=request.endpoint, exc_info=exc)
    return problem(500, "bug", OUR_FAULT)


def _unanswered(exc: MailroomError) -> Response:
    """PostgreSQL's own words stay in the log."""
    answer = problem(503, exc.code, AWAY if isinstance(exc, StoreUnavailable) else str(exc))
    answer.headers["Retry-After"] = RETRY_AFTER
    return answer


def _of_ours(exc: MailroomError) -> Response:
    faults = exc.faults if isinstance(exc, ApiRefusal) else ()
    members: dict[str, Any] = {"errors": as_members(faults[:MOST_FAULTS])} if faults else {}
    if len(faults) > MOST_FAULTS:
        members["errors_left_out"] = len(faults) - MOST_FAULTS
    answer = problem(status_of(exc), exc.code, str(exc), **members)
    answer.headers.update(exc.headers if isinstance(exc, ApiRefusal) else {})
    return answer
