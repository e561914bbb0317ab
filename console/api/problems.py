"""The API's errors: their classes, the HTTP status of each error, and the problem documents that answer them."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import structlog
from flask import Response, current_app, g, request
from werkzeug.exceptions import HTTPException

from console.access.actor import NotAllowed
from console.attachment_content import AttachmentGone, AttachmentNotStored, DownloadsBusy, UnknownAttachment
from console.feed_watch import TooManyReaders
from console.filter_words import BadFilter
from console.operations.addresses import AddressOfAccount, ExportsBusy, UnknownErasure
from console.operations.endpoints import EndpointMovedOn, UnknownEndpoint
from console.operations.events import CannotRunAgain, NoFixture, UnknownEvent
from console.operations.jobs import FilterTooWide, JobMovedOn, UnknownJob
from console.operations.tasks import MovedOn, ReasonMissing, SameAction, UnknownGroup, UnknownTask
from console.operations.tenants import NothingReceived, PausedByOperator, QuotaOfOperator, UnknownTenant
from console.tenant_concurrency import Crowded
from console.user_validation import BadUser
from shared.db.core.pool import TooSlow
from shared.db.host.endpoints import EndpointTaken
from shared.db.tenants.api_tokens import TokenNameTaken
from shared.db.tenants.consent import OtherCompany
from shared.db.tenants.tenants import TenantTaken
from shared.db.users.users import UserTaken
from shared.errors import (
    BodyGone,
    ConfigurationError,
    InvalidPolicy,
    MailroomError,
    StorageUnavailable,
    StoreUnavailable,
)
from shared.host.endpoint_rules import BadEndpoint
from shared.host.notification import CursorTooOld, FeedReset
from shared.subject_address import NotAnAddress

if TYPE_CHECKING:
    from flask import Blueprint

API_PATH = "/api/"
MEDIA_TYPE = "application/problem+json"
REQUEST_ID_HEADER = "X-Request-ID"
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")  # another one is not taken from the sender
RETRY_AFTER = "5"  # seconds
MOST_FAULTS = 1_000  # of one request; the rest is only counted
# Details of errors whose own words stay in the log.
STORE_UNAVAILABLE = "PostgreSQL does not answer; send the request again"
BUG = "something went wrong on our side; the log has it under this request's id"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A mistake in one part of a request.

    `pointer` is a JSON pointer into the body (RFC 6901, as a fragment), `parameter` a part of the address, `index` the
    item of a list.
    """

    code: str
    detail: str
    pointer: str | None = None
    parameter: str | None = None
    index: int | None = None


class ApiRefusal(MailroomError):
    """The API refuses the request; the sender must change something."""

    code = "refused"
    status: ClassVar[int] = 400

    def __init__(self, message: str, *, faults: Sequence[Fault] = ()):
        super().__init__(message)
        self.faults = faults

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers that the answer carries besides."""
        return {}


# The first paragraph of each docstring from here on is shown to people, on the page about the API.


class MalformedJson(ApiRefusal):
    """The body is no JSON object."""

    code = "malformed_json"


class NotJson(ApiRefusal):
    """The body is declared as something other than plain JSON."""

    code = "not_json"
    status = 415


class Invalid(ApiRefusal):
    """Parts of the request are wrong; `errors` names them."""

    code = "invalid"
    status = 422


class UnknownUser(ApiRefusal):
    """The tenant has no such user."""

    code = "unknown_user"
    status = 404


class UnknownMessage(ApiRefusal):
    """There is no such message in the feed, or this token does not see it."""

    code = "unknown_message"
    status = 404


class PartMissing(ApiRefusal):
    """The message has no such part."""

    code = "part_missing"
    status = 404


class KeyReused(ApiRefusal):
    """The Idempotency-Key came with another request in the last 24 hours."""

    code = "idempotency_key_reused"
    status = 422


class Unauthorized(ApiRefusal):
    """The request has no token."""

    code = "token_missing"
    status = 401

    @property
    def headers(self) -> dict[str, str]:
        """Tell how to authenticate (RFC 6750)."""
        return {"WWW-Authenticate": 'Bearer realm="mailroom"'}


class InvalidToken(Unauthorized):
    """The token is unknown, expired or revoked."""

    code = "token_invalid"

    @property
    def headers(self) -> dict[str, str]:
        """Tell how to authenticate, and that the token is wrong."""
        return {"WWW-Authenticate": 'Bearer realm="mailroom", error="invalid_token"'}


class ScopeTooSmall(ApiRefusal):
    """The token may not do this."""

    code = "scope_too_small"
    status = 403

    @property
    def headers(self) -> dict[str, str]:
        """Tell the scope that the request needs."""
        return {"WWW-Authenticate": 'Bearer realm="mailroom", error="insufficient_scope", scope="write"'}


class InvalidLink(ApiRefusal):
    """The signature of this link to a file is wrong."""

    code = "link_invalid"
    status = 403


class LinkExpired(ApiRefusal):
    """This link to a file has ended."""

    code = "link_expired"
    status = 403


class ForEveryTenantOnly(ApiRefusal):
    """This request needs a token that is not bound to one tenant."""

    code = "token_of_one_tenant"
    status = 403


#: The status of errors that are not the API's own.
STATUS: dict[type[MailroomError], int] = {
    BadEndpoint: 422,
    BadFilter: 422,
    BadUser: 422,
    NotAnAddress: 422,
    FilterTooWide: 422,
    InvalidPolicy: 422,
    NoFixture: 422,
    ReasonMissing: 422,
    SameAction: 422,
    TooSlow: 422,
    NotAllowed: 403,
    PausedByOperator: 403,
    QuotaOfOperator: 403,
    BodyGone: 404,
    UnknownAttachment: 404,
    UnknownEndpoint: 404,
    UnknownEvent: 404,
    UnknownGroup: 404,
    UnknownJob: 404,
    UnknownErasure: 404,
    UnknownTask: 404,
    UnknownTenant: 404,
    AddressOfAccount: 409,
    AttachmentNotStored: 409,
    CannotRunAgain: 409,
    EndpointMovedOn: 409,
    EndpointTaken: 409,
    JobMovedOn: 409,
    MovedOn: 409,
    NothingReceived: 409,
    UserTaken: 409,
    TenantTaken: 409,
    TokenNameTaken: 409,
    OtherCompany: 409,
    AttachmentGone: 410,
    DownloadsBusy: 503,
    ExportsBusy: 503,
    StorageUnavailable: 503,
    StoreUnavailable: 503,
    ConfigurationError: 503,
    CursorTooOld: 410,
    FeedReset: 410,
    Crowded: 503,
    TooManyReaders: 503,
}


def status_of(error: MailroomError) -> int:
    """Return the HTTP status of this error: 500 if the sender is not to blame and cannot wait it out."""
    if isinstance(error, ApiRefusal):
        return error.status
    return next((status for kind, status in STATUS.items() if isinstance(error, kind)), 500)


def problem_codes() -> list[tuple[int, str, str]]:
    """List every code of ours that a problem may have: status, code, meaning."""
    kinds = [*STATUS, *_subclasses(ApiRefusal)]
    rows = [(STATUS.get(kind) or kind.status, kind.code, (kind.__doc__ or "").split("\n\n")[0]) for kind in kinds]  # type: ignore[attr-defined]
    return sorted(rows)


def _subclasses(kind: type[ApiRefusal]) -> list[type[ApiRefusal]]:
    return [each for child in kind.__subclasses__() for each in (child, *_subclasses(child))]


# Answers.


def register_problems(api: Blueprint) -> None:
    """Answer every error below the API with a problem document."""
    api.register_error_handler(HTTPException, http_problem)
    api.register_error_handler(Exception, error_problem)


def http_problem(exc: HTTPException) -> Response:
    """Answer an error of HTTP itself, with its headers."""
    response = problem(exc.code or 500, exc.name.lower().replace(" ", "_"), exc.description or exc.name)
    for name, value in exc.get_headers():
        if name != "Content-Type":
            response.headers[name] = value  # Allow, for example
    return response


def error_problem(exc: Exception) -> Response:
    """Answer one of our errors under its code. A bug is a 500 that tells nothing of itself."""
    if isinstance(exc, MailroomError) and status_of(exc) < 500:
        return _refusal(exc)
    if isinstance(exc, MailroomError) and status_of(exc) == 503:
        log.warning("request_unanswered", endpoint=request.endpoint, code=exc.code, reason=str(exc))
        return _unavailable(exc)
    log.error("request_failed", endpoint=request.endpoint, exc_info=exc)
    return problem(500, "bug", BUG)


def problem(status: int, code: str, detail: str, **members: Any) -> Response:
    """Make a problem document (RFC 9457) that people and programs can read."""
    body = {
        "type": f"urn:mailroom:problem:{code}",
        "title": code.replace("_", " "),
        "status": status,
        "detail": detail,
        "code": code,
        "instance": request_id(),
    }
    return Response(json.dumps(body | members, ensure_ascii=False), status, content_type=MEDIA_TYPE)


def fault_members(faults: Sequence[Fault]) -> list[dict[str, Any]]:
    """Write the faults as a problem document lists them: without the members that they lack."""
    return [{name: value for name, value in asdict(fault).items() if value is not None} for fault in faults]


def _refusal(exc: MailroomError) -> Response:
    faults = exc.faults if isinstance(exc, ApiRefusal) else ()
    members: dict[str, Any] = {"errors": fault_members(faults[:MOST_FAULTS])} if faults else {}
    if len(faults) > MOST_FAULTS:
        members["errors_left_out"] = len(faults) - MOST_FAULTS
    if isinstance(exc, FeedReset):
        members["start"] = str(exc.start)
    if isinstance(exc, (MovedOn, JobMovedOn, CannotRunAgain)):
        members["possible_changes"] = [{"verb": each.verb, "why_not": each.why_not} for each in exc.possible_changes]
    response = problem(status_of(exc), exc.code, str(exc), **members)
    response.headers.update(exc.headers if isinstance(exc, ApiRefusal) else {})
    return response


def _unavailable(exc: MailroomError) -> Response:
    response = problem(503, exc.code, STORE_UNAVAILABLE if isinstance(exc, StoreUnavailable) else str(exc))
    response.headers["Retry-After"] = RETRY_AFTER
    return response


def is_api_request() -> bool:
    """Whether the current request is one to the API rather than to a page; no host of its own has an API."""
    return request.path.startswith(API_PATH) and "api" in current_app.blueprints


def request_id() -> str:
    """Return the id of the current request: the sender's if it has the right form, else a new one."""
    if "request_id" not in g:
        given = request.headers.get(REQUEST_ID_HEADER, "")
        g.request_id = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
    return str(g.request_id)
