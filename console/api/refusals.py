"""Why the API refuses a request, and which HTTP status each of our errors is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from console.described import BadUser
from console.turns import Crowded
from shared.db.api_tokens import TokenNameTaken
from shared.db.tenants import TenantTaken
from shared.db.users import UserTaken
from shared.errors import ConfigurationError, InvalidPolicy, MailroomError, StoreUnavailable


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
