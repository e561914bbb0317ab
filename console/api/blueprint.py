"""The API's blueprint: checks of each request (token, encoding, body), and helpers that its routes share."""

from __future__ import annotations

import re
import time
from contextlib import contextmanager, suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast
from urllib.parse import unquote_to_bytes

from flask import current_app, g, request
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag
from pydantic import BaseModel
from werkzeug.exceptions import BadRequest

from console.access.actor import Actor, NotAllowed, bearer_actor
from console.api.problems import (
    MEDIA_TYPE,
    Fault,
    ForEveryTenantOnly,
    Invalid,
    InvalidLink,
    InvalidToken,
    LinkExpired,
    MalformedJson,
    NotJson,
    ScopeTooSmall,
    Unauthorized,
    register_problems,
)
from console.api.schemas import BIGGEST_ID
from console.issued_secrets import digest_of
from console.operations.audited import Change, carry_out
from console.operations.tenants import UnknownTenant
from console.web.resources import current_resources
from shared.db.tenants import api_tokens, tenants
from shared.host.body import is_download_signature

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from shared.db.core.pool import Connection
    from shared.db.tenants.api_tokens import Bearer
    from shared.db.tenants.tenants import TenantOverview

T = TypeVar("T")
View = TypeVar("View", bound="Callable[..., Any]")
Responses: TypeAlias = dict[str | int | HTTPStatus, type[BaseModel] | dict[Any, Any] | None]

#: Endpoints that take larger bodies than the application's MAX_CONTENT_LENGTH, with their limit in bytes.
LARGE_BODIES = {"api.put_users_of_list": 4 * 2**20}
READ_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
#: The right that each route needs which changes something, by endpoint: a test walks all of them.
VERBS_OF_ROUTES: dict[str, str] = {}
#: The right that is enough to read a route, by endpoint; all others need `read`.
VERBS_OF_READS: dict[str, str] = {}
NUMBER = re.compile(r"<int:(\w+)>")
READ_SECONDS = 2.0
#: The endpoint whose address a notification has as a signed link.
DOWNLOAD = "api.download_attachment"

# The OpenAPI document.
SECURITY = "token"
EVENTS = Tag(name="events", description="What Front sent, what was done about it and why.")
TASKS = Tag(name="tasks", description="The steps of the work, with their attempts, and groups of those that failed.")
JOBS = Tag(name="jobs", description="Changes of many tasks, which are chosen when the job is planned.")
MESSAGES = Tag(name="messages", description="The feed for your application: what was received, and for whom.")
REPAIRS = Tag(name="repairs", description="Comparisons with Front's own list of events, which fill gaps.")
OVERSIGHT = Tag(name="oversight", description="What waits and runs, and who asked for what.")
ENDPOINTS = Tag(name="endpoints", description="The URLs of your application that get notifications.")
USERS = Tag(name="users", description="The people with whom a tenant's mail is matched.")
ADDRESSES = Tag(name="addresses", description="What is held of one e-mail address, and its erasure.")
TENANTS = Tag(name="tenants", description="Your customers, and the actions on their conversations.")


def problem_responses(*statuses: int) -> Responses:
    """Document these statuses as problems of a route."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in statuses
    }


def text_response(media_type: str) -> dict[Any, Any]:
    """Document an answer that is text and no JSON."""
    return {"description": "The text", "content": {media_type: {"schema": {"type": "string"}}}}


def _operation_id(*, name: str, path: str, method: str) -> str:  # noqa: ARG001 -- the library passes all three
    """Name an operation after its function."""
    return name


#: The problems that a route with a body has besides those of every route.
BODY_PROBLEMS = problem_responses(400, 413, 415)
#: The problem of a route that may give somebody a name or an address that another one has.
CONFLICT = problem_responses(409)

api = APIBlueprint(
    "api",
    __name__,
    url_prefix="/api/v1",
    operation_id_callback=_operation_id,
    abp_security=[{SECURITY: []}],
    abp_responses=problem_responses(401, 403, 404, 422, 500, 503),
)
register_problems(api)


# Checks before each request, in this order.


@api.before_request
def authorize() -> None:
    """Let the request pass if its token, or its signed link, may do this.

    Raises Unauthorized, ScopeTooSmall, UnknownTenant, InvalidLink or LinkExpired.
    The audit gets an entry of a change that is refused.
    """
    if link := link_actor():
        g.actor, g.token_name = link, link.name
        return
    g.bearer = bearer = find_bearer()
    g.token_name = bearer.name
    g.actor = actor = bearer_actor(bearer, address=request.remote_addr)
    if request.method in READ_METHODS and VERBS_OF_READS.get(request.endpoint or "", "read") not in actor.verbs:
        raise ScopeTooSmall(f"the token {bearer.name!r} may read messages and their files only")
    if request.method not in READ_METHODS and verb_of_route() not in actor.verbs:
        note_refusal((request.view_args or {}).get("tenant_id", actor.tenant_id))
        raise ScopeTooSmall(f"the token {bearer.name!r} may only read")
    if "tenant_id" in (request.view_args or {}):
        require_tenant_in_sight((request.view_args or {})["tenant_id"])


@api.before_request
def require_utf8() -> None:
    """Raise Invalid unless path and query of the request are UTF-8."""
    path: str = request.environ["PATH_INFO"]  # its bytes, each as a character (PEP 3333)
    parts = {"path": path.encode("latin-1"), "query": unquote_to_bytes(request.query_string)}
    if faults := [_encoding_fault(part) for part, text in parts.items() if not _is_utf8(text)]:
        raise Invalid("the address is not encoded in UTF-8", faults=faults)


@api.before_request
def require_json() -> None:
    """Read the body if the view takes one. Raises NotJson or MalformedJson, or HTTP's error for a large body."""
    view = current_app.view_functions[request.endpoint or ""]
    if request.method == "OPTIONS" or "body" not in view.__annotations__:
        return
    if request.endpoint in LARGE_BODIES:
        request.max_content_length = LARGE_BODIES[request.endpoint]
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


def link_actor() -> Actor | None:
    """Return the actor of a signed link, who may download one file until the link ends; None: the request has no link.

    Raises InvalidLink and LinkExpired.
    """
    if request.endpoint != DOWNLOAD or "signature" not in request.args:
        return None
    number, signature = int((request.view_args or {})["number"]), request.args["signature"]
    expires_at = request.args.get("expires", 0, type=int)
    key = current_resources().settings.secret_key.get_secret_value().encode()
    if not is_download_signature(key, number, expires_at, signature):
        raise InvalidLink("this link was changed, or signed with another SECRET_KEY; read the notification again")
    if expires_at < time.time():
        raise LinkExpired("this link ended; read the notification again, or use its `url` with a token")
    return Actor(name="a signed link", via="api", verbs=frozenset({"download"}))


def find_bearer() -> Bearer:
    """Return the bearer of the request's token. Raises Unauthorized."""
    authorization = request.authorization
    if authorization is None or authorization.type != "bearer" or not authorization.token:
        raise Unauthorized("send the header Authorization: Bearer mr_…; `mailroom api-token create` makes a token")
    digest = digest_of(authorization.token)
    found = current_resources().pool.run(lambda conn: api_tokens.find_bearer(conn, digest))
    if found is None:
        raise InvalidToken("nobody has this token")
    if found.state != "valid":
        raise InvalidToken(f"the token is {found.state}")
    return found


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _encoding_fault(part: str) -> Fault:
    return Fault(code="bad_encoding", detail=f"encode the {part} in UTF-8 before you percent-encode it", parameter=part)


# The sender of the request, and its purpose.


def needs(verb: str) -> Callable[[View], View]:
    """Declare the right that a route needs to change something."""

    def declare(view: View) -> View:
        VERBS_OF_ROUTES[f"api.{view.__name__}"] = verb
        return view

    return declare


def reads(verb: str) -> Callable[[View], View]:
    """Declare the right that is enough to read a route, in place of `read`."""

    def declare(view: View) -> View:
        VERBS_OF_READS[f"api.{view.__name__}"] = verb
        return view

    return declare


def verb_of_route() -> str:
    """Return the right that the request needs."""
    return VERBS_OF_ROUTES[request.endpoint or ""]


def current_actor() -> Actor:
    """Return whoever sent the request."""
    return cast("Actor", g.actor)


def run(work: Callable[[Connection], T], /) -> T:
    """Run work in one transaction of the application's pool."""
    return current_resources().pool.run(work)


@contextmanager
def reading(seconds: float = READ_SECONDS) -> Iterator[Connection]:
    """Give a connection for the reads of a request. Raises TooSlow."""
    with current_resources().pool.reading(seconds) as conn:
        yield conn


def change(wanted: Change, write: Callable[[Connection], T]) -> T:
    """Run `write` in a transaction and return its result. The audit and the journal name the request's token."""
    actor = current_actor()

    def write_as_bearer(conn: Connection) -> T:
        tenants.act_as(conn, actor.signature)
        return write(conn)

    return carry_out(run, actor, wanted, write_as_bearer)


def note_refusal(tenant_id: int | None) -> None:
    """Write into the audit that this request is refused: the verb, and the route with its numbers."""
    values = request.view_args or {}
    rule = str(request.url_rule)
    target = NUMBER.sub(lambda found: str(values[found[1]]), rule)
    with suppress(NotAllowed):
        known = tenant_id if tenant_id is not None and tenant_id <= BIGGEST_ID else None
        refused = Change(verb=verb_of_route(), target=f"{request.method} {target}", tenant_id=known)
        carry_out(run, current_actor(), refused, lambda _: None)


# The tenants that a route may work on.


def bound_tenant() -> int | None:
    """Return the tenant to which the token is bound; None: it is good for every tenant."""
    return current_actor().tenant_id


def require_unbound_token(what: str) -> None:
    """Raise ForEveryTenantOnly if the token is bound to a tenant."""
    if bound_tenant() is None:
        return
    if request.method not in READ_METHODS:
        note_refusal(None)
    raise ForEveryTenantOnly(f"this token is for one tenant; {what} takes one for every tenant")


def require_tenant_in_sight(tenant_id: int) -> None:
    """Raise UnknownTenant if the token is bound to another tenant."""
    if current_actor().sees(tenant_id):
        return
    if request.method not in READ_METHODS:
        note_refusal(tenant_id)
    raise unknown_tenant(tenant_id)


def unknown_tenant(tenant_id: int) -> UnknownTenant:
    """Make the refusal that is the same for a missing tenant and for one that the token may not see."""
    return UnknownTenant(f"there is no tenant {tenant_id}")


def keep_tenant(conn: Connection, tenant_id: int) -> None:
    """Keep the tenant from being removed until the transaction ends. Raises UnknownTenant."""
    if not tenants.lock_against_removal(conn, tenant_id):
        raise unknown_tenant(tenant_id)


def read_tenant(conn: Connection, tenant_id: int) -> TenantOverview:
    """Read the tenant. Raises UnknownTenant."""
    found = tenants.get(conn, tenant_id)
    if found is None:
        raise unknown_tenant(tenant_id)
    return found
