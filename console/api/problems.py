"""Why the API refuses a request, and which HTTP status each of our errors is."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import structlog
from flask import Response, g, request
from werkzeug.exceptions import HTTPException

from console.tenant_concurrency import Crowded
from console.user_validation import BadUser
from shared.db.tenants.api_tokens import TokenNameTaken
from shared.db.tenants.tenants import TenantTaken
from shared.db.users.users import UserTaken
from shared.errors import ConfigurationError, InvalidPolicy, MailroomError, StoreUnavailable

if TYPE_CHECKING:
    from flask import Blueprint, Flask


API = "/api/"
HEADER = "X-Request-ID"
SANE = re.compile(r"[A-Za-z0-9._-]{8,64}")

log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER = "5"  # seconds
MOST_FAULTS = 1_000  # told of one request; the others are counted
AWAY = "PostgreSQL does not answer; send it again"
OUR_FAULT = "something went wrong on our side; the log has it under this request's id"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What is wrong with one part of a request.

    `pointer` is a JSON pointer into the body (RFC 6901 as a fragment), `parameter` a part of the address, `index` the
    item of a list.
    """

    code: str
    detail: str
    pointer: str | None = None
    parameter: str | None = None
    index: int | None = None


class ApiRefusal(MailroomError):
    """The API says no; the sender must change something."""

    code = "refused"
    status: ClassVar[int] = 400

    def __init__(self, message: str, *, faults: Sequence[Fault] = ()):
        super().__init__(message)
        self.faults = faults

    @property
    def headers(self) -> dict[str, str]:
        """What the answer carries besides."""
        return {}


class MalformedJson(ApiRefusal):
    """The body is no JSON object."""

    code = "malformed_json"


class NotJson(ApiRefusal):
    """The body says that it is something else than plain JSON."""

    code = "not_json"
    status = 415


class Invalid(ApiRefusal):
    """The request is understood, and parts of it are wrong: `faults` names them."""

    code = "invalid"
    status = 422


class UnknownTenant(ApiRefusal):
    """There is no such tenant, or this token does not see it."""

    code = "unknown_tenant"
    status = 404


class UnknownUser(ApiRefusal):
    """The tenant has no such user."""

    code = "unknown_user"
    status = 404


class Unauthorized(ApiRefusal):
    """No token, or one that is no longer good."""

    code = "token_missing"
    status = 401

    @property
    def headers(self) -> dict[str, str]:
        """How to authenticate (RFC 6750)."""
        return {"WWW-Authenticate": 'Bearer realm="mailroom"'}


class InvalidToken(Unauthorized):
    """Nobody has this token (any more)."""

    code = "token_invalid"

    @property
    def headers(self) -> dict[str, str]:
        """How to authenticate, and that the token is what is wrong."""
        return {"WWW-Authenticate": 'Bearer realm="mailroom", error="invalid_token"'}


class ScopeTooSmall(ApiRefusal):
    """The token may not do this."""

    code = "scope_too_small"
    status = 403

    @property
    def headers(self) -> dict[str, str]:
        """Which scope it takes."""
        return {"WWW-Authenticate": 'Bearer realm="mailroom", error="insufficient_scope", scope="write"'}


class ForEveryTenantOnly(ApiRefusal):
    """This takes a token that is not bound to one tenant."""

    code = "token_of_one_tenant"
    status = 403


STATUS: dict[type[MailroomError], int] = {
    BadUser: 422,
    InvalidPolicy: 422,
    UserTaken: 409,
    TenantTaken: 409,
    TokenNameTaken: 409,
    StoreUnavailable: 503,
    ConfigurationError: 503,
    Crowded: 503,
}


def status_of(error: MailroomError) -> int:
    """The HTTP status of this error; 500 for what is no fault of the sender's."""
    if isinstance(error, ApiRefusal):
        return error.status
    return next((status for kind, status in STATUS.items() if isinstance(error, kind)), 500)


def codes() -> list[tuple[int, str, str]]:
    """Every code of ours that a problem may have, with its status and its meaning."""
    kinds = [*STATUS, *_below(ApiRefusal)]
    told = [(STATUS.get(kind) or kind.status, kind.code, (kind.__doc__ or "").split("\n\n")[0]) for kind in kinds]  # type: ignore[attr-defined]
    return sorted(told)


def _below(kind: type[ApiRefusal]) -> list[type[ApiRefusal]]:
    return [each for child in kind.__subclasses__() for each in (child, *_below(child))]


def as_members(faults: Sequence[Fault]) -> list[dict[str, Any]]:
    """The faults as a problem document lists them: without what they do not have."""
    return [{name: value for name, value in asdict(fault).items() if value is not None} for fault in faults]


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
