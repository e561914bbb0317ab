"""Knows who sends a request by its bearer token, and what that token may see and do."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeAlias, cast
from urllib.parse import unquote_to_bytes

from flask import current_app, g, request
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag
from pydantic import BaseModel
from werkzeug.exceptions import BadRequest

from console.api import problems
from console.api.problems import (
    Fault,
    ForEveryTenantOnly,
    Invalid,
    InvalidToken,
    MalformedJson,
    NotJson,
    ScopeTooSmall,
    Unauthorized,
    UnknownTenant,
)
from console.issued_secrets import digest_of
from console.web.resources import current
from shared.db.tenants import api_tokens, tenants

if TYPE_CHECKING:
    from shared.db.core.pool import Connection
    from shared.db.tenants.api_tokens import Bearer
    from shared.db.tenants.tenants import TenantOverview


#: Endpoints whose bodies may be larger than the application's MAX_CONTENT_LENGTH, in bytes.
LARGER = {"api.put_users_of_list": 4 * 2**20}

READING = frozenset({"GET", "HEAD", "OPTIONS"})

Answers: TypeAlias = dict[str | int | HTTPStatus, type[BaseModel] | dict[Any, Any] | None]

SECURITY = "token"
USERS = Tag(name="users", description="The people a tenant's mail is matched with.")
TENANTS = Tag(name="tenants", description="Your customers, and what is done with their conversations.")


def refuse_other_encodings() -> None:
    """Raise Invalid unless path and query of the current request are UTF-8."""
    path: str = request.environ["PATH_INFO"]  # its bytes, each as a character (PEP 3333)
    parts = {"path": path.encode("latin-1"), "query": unquote_to_bytes(request.query_string)}
    if faults := [_fault(part) for part, text in parts.items() if not _is_utf8(text)]:
        raise Invalid("the address is not encoded in UTF-8", faults=faults)


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _fault(part: str) -> Fault:
    return Fault(code="bad_encoding", detail=f"encode the {part} in UTF-8 before it is percent-encoded", parameter=part)


def read_body() -> None:
    """Read the body where the view wants one. Raises NotJson, MalformedJson, or what HTTP has for too large."""
    view = current_app.view_functions[request.endpoint or ""]
    if request.method == "OPTIONS" or "body" not in view.__annotations__:
        return
    if request.endpoint in LARGER:
        request.max_content_length = LARGER[request.endpoint]
    if not request.is_json or request.headers.get("Content-Encoding", "identity") != "identity":
        raise NotJson("send the body as plain JSON with Content-Type: application/json")
    try:
        body = request.get_json()
    except BadRequest:
        raise MalformedJson("the body is no JSON") from None
    except RecursionError:
        raise MalformedJson("the body is nested too deeply") from None
    if not isinstance(body, dict):
        raise MalformedJson("the body is no JSON object")


def admit() -> None:
    """Let the current request in. Raises Unauthorized, ScopeTooSmall, or UnknownTenant for a tenant out of sight."""
    g.sender = sender = _bearer()
    g.token_name = sender.name
    if request.method not in READING and sender.scope != "write":
        raise ScopeTooSmall(f"the token {sender.name!r} may only read")
    asked = (request.view_args or {}).get("tenant_id")
    if asked is not None and sender.tenant_id not in {None, asked}:
        raise no_tenant(asked)


def only_tenant() -> int | None:
    """The one tenant that the sender sees; None: every."""
    return cast("int | None", g.sender.tenant_id)


def for_every_tenant() -> None:
    """Raises ForEveryTenantOnly where the sender's token is bound to a tenant."""
    if only_tenant() is not None:
        raise ForEveryTenantOnly("this token is for one tenant; making tenants takes one for every tenant")


def no_tenant(tenant_id: int) -> UnknownTenant:
    """The refusal that tells the same about a tenant out of sight and one that is not there."""
    return UnknownTenant(f"there is no tenant {tenant_id}")


def _bearer() -> Bearer:
    given = request.authorization
    if given is None or given.type != "bearer" or not given.token:
        raise Unauthorized("send the header Authorization: Bearer mr_…; `mailroom api-token create` makes a token")
    digest = digest_of(given.token)
    found = current().pool.run(lambda conn: api_tokens.find_bearer(conn, digest))
    if found is None:
        raise InvalidToken("nobody has this token")
    if found.state != "valid":
        raise InvalidToken(f"the token is {found.state}")
    return found


def keep(conn: Connection, tenant_id: int) -> None:
    """Keep the tenant there for this transaction. Raises UnknownTenant."""
    if not tenants.lock_against_removal(conn, tenant_id):
        raise no_tenant(tenant_id)


def hold(conn: Connection, tenant_id: int) -> None:
    """Keep the tenant as it is for this transaction, but for what it changes itself. Raises UnknownTenant."""
    if not tenants.lock(conn, tenant_id):
        raise no_tenant(tenant_id)


def overview(conn: Connection, tenant_id: int) -> TenantOverview:
    """The tenant. Raises UnknownTenant."""
    found = tenants.get(conn, tenant_id)
    if found is None:
        raise no_tenant(tenant_id)
    return found


def said(*statuses: int) -> Answers:
    """Problems as a route's documentation lists them."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": {problems.MEDIA_TYPE: {"schema": schema}}}
        for status in statuses
    }


def _named(*, name: str, path: str, method: str) -> str:  # noqa: ARG001 -- as the library calls it
    """An operation is called like the function that does it."""
    return name


#: What a route with a body may say besides.
BODY = said(400, 413, 415)

api = APIBlueprint(
    "api",
    __name__,
    url_prefix="/api/v1",
    operation_id_callback=_named,
    abp_security=[{SECURITY: []}],
    abp_responses=said(401, 403, 404, 422, 500, 503),
)
api.before_request(admit)
api.before_request(refuse_other_encodings)
api.before_request(read_body)
problems.register_problems(api)
