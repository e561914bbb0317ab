"""Knows who sends a request by its bearer token, and what that token may see and do."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from flask import g, request

from console.api.refusals import ForEveryTenantOnly, InvalidToken, ScopeTooSmall, Unauthorized, UnknownTenant
from console.api_tokens import digest_of
from console.web.resources import current
from shared.db import api_tokens

if TYPE_CHECKING:
    from shared.db.api_tokens import Bearer

READING = frozenset({"GET", "HEAD", "OPTIONS"})


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
    found = current().pool.run(lambda conn: api_tokens.bearer(conn, digest))
    if found is None:
        raise InvalidToken("nobody has this token")
    if found.state != "valid":
        raise InvalidToken(f"the token is {found.state}")
    return found
