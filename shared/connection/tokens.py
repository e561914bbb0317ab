"""A tenant's token for Front: refreshed ahead of its end or when Front refuses it, by one process at a time.

A process claims the refresh in a row, and then calls Front with no transaction open. A lock would hold a connection of
the pool for as long as Front takes, and so would everybody who waits for the lock. Meanwhile the others use the
expiring token, or give their tasks back for a second. The claim outlives the last moment at which the call may leave.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

import structlog

from shared import failpoints
from shared.connection.budget import Budget
from shared.connection.vault import TokenVault
from shared.db.core.pool import Pool
from shared.db.core.session import persist
from shared.db.tenants import connections
from shared.db.tenants.connections import KEEP_ALIVE_AFTER
from shared.errors import MailroomError, NeedsReconnect, TokenUnavailable
from shared.front.client import FrontClient
from shared.front.oauth import TokenEndpoint
from shared.front.token_lifetime import Freshness, freshness
from shared.models import Grant, Token, Tokens
from shared.settings import Settings

CALL_SECONDS = 10.0
CLAIM_SECONDS = 20.0
#: The wait for a refresh of another process; most calls to Front take less.
OTHERS_SECONDS = 1.0
log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class FrontResources:
    """The grants, what they are sealed with, who renews them, and Front; a set `stop` ends what waits."""

    pool: Pool
    vault: TokenVault
    token_endpoint: TokenEndpoint
    front: FrontClient
    stop: threading.Event = field(default_factory=threading.Event)


def front_client(settings: Settings) -> FrontClient:
    """Front's API, with the budget that all processes share."""
    return FrontClient(settings.front_api_url, Budget.from_url(settings.redis_url.get_secret_value()))


def token_endpoint(settings: Settings) -> TokenEndpoint:
    """Front's token endpoint for our app."""
    return TokenEndpoint(
        settings.front_app_url,
        client_id=settings.front_client_id,
        client_secret=settings.front_client_secret.get_secret_value(),
    )


def current_token(resources: FrontResources, tenant_id: int, *, refused: int = 0, grant: Grant | None = None) -> Token:
    """Get the tenant's token; a token of the version `refused` is replaced by a newer one.

    A caller that has just read the tenant's `grant` passes it on. A refused API token comes back as it is. Raises
    NeedsReconnect, TokenUnavailable, UnreadableSecret.
    """
    grant = grant or _read(resources, tenant_id)
    match _freshness(grant, refused):
        case "expiring":
            grant = _refreshed(resources, grant)
        case "expired":
            grant = _replaced(resources, grant)
    return decrypted_token(resources, grant)


def decrypted_token(resources: FrontResources, grant: Grant) -> Token:
    """Decrypt the grant's token, as fresh as it is. Raises UnreadableSecret."""
    return Token(
        tenant_id=grant.tenant_id,
        company_id=grant.company_id,
        version=grant.version,
        access_token=_secret(resources, grant)["access_token"],
    )


def keep_alive(resources: FrontResources, tenant_id: int) -> None:
    """Refresh the tokens of a tenant that was idle for long. A failure is logged, and tried again later."""
    try:
        grant = _read(resources, tenant_id)
        if grant.kind == "oauth" and datetime.now(UTC) - grant.updated_at > KEEP_ALIVE_AFTER / 2:
            _refreshed(resources, grant)
    except MailroomError as exc:
        log.warning("not_kept_alive", tenant=tenant_id, code=exc.code, reason=str(exc))


def _read(resources: FrontResources, tenant_id: int) -> Grant:
    grant = resources.pool.run(lambda conn: connections.read(conn, tenant_id))
    if grant is None:
        raise NeedsReconnect("the tenant has no connection; run `mailroom tenant connect`")
    return grant


def _freshness(grant: Grant, refused: int) -> Freshness:
    if grant.kind != "oauth":
        return "fresh"
    if grant.version == refused:
        return "expired"
    return freshness(issued_at=grant.updated_at, expires_at=grant.expires_at, now=datetime.now(UTC))


def _secret(resources: FrontResources, grant: Grant) -> dict[str, str]:
    return resources.vault.open(grant.tenant_id, grant.secret)


def _refreshed(resources: FrontResources, grant: Grant) -> Grant:
    """Get a newer grant, or keep this one, which is still good, when Front gives none now."""
    try:
        return _replaced(resources, grant)
    except TokenUnavailable:
        return grant


def _replaced(resources: FrontResources, grant: Grant) -> Grant:
    """Get a newer grant from Front, or from another process. Raises NeedsReconnect, TokenUnavailable."""
    refresh_token = _secret(resources, grant)["refresh_token"]
    began = time.monotonic()
    if not resources.pool.run(lambda conn: connections.claim_refresh(conn, grant, seconds=CLAIM_SECONDS)):
        return _others(resources, grant)
    try:
        tokens = resources.token_endpoint.refresh(refresh_token, until=began + CALL_SECONDS)
    except NeedsReconnect as exc:
        return _refused(resources, grant, exc)
    except TokenUnavailable as exc:
        log.warning("token_not_refreshed", tenant=grant.tenant_id, reason=str(exc))
        resources.pool.run(partial(connections.postpone_refresh, grant=grant, seconds=exc.retry_after))
        raise
    failpoints.reach("refreshed_before_commit")
    return _stored(resources, grant, tokens)


def _others(resources: FrontResources, grant: Grant) -> Grant:
    newest = _read(resources, grant.tenant_id)
    if newest.version == grant.version:
        raise TokenUnavailable("a new token is on its way or was asked for just now", retry_after=OTHERS_SECONDS)
    return newest


def _refused(resources: FrontResources, grant: Grant, refusal: NeedsReconnect) -> Grant:
    """Park the tenant and raise the refusal, unless another process has replaced the grant by now."""
    if resources.pool.run(lambda conn: connections.refuse_grant(conn, grant)):
        log.warning("token_refused", tenant=grant.tenant_id, version=grant.version, reason=str(refusal))
        raise refusal
    return _read(resources, grant.tenant_id)


def _stored(resources: FrontResources, grant: Grant, tokens: Tokens) -> Grant:
    """Store the tokens, however long PostgreSQL is away, as they may be the only good ones. Return the newest grant."""
    secret = resources.vault.seal(
        grant.tenant_id, {"access_token": tokens.access_token, "refresh_token": tokens.refresh_token}
    )
    store = partial(connections.store_refreshed, grant=grant, secret=secret, expires_at=tokens.expires_at)
    persist(
        lambda: resources.pool.run(store), stop=resources.stop, event="storing_tokens_waits", tenant=grant.tenant_id
    )
    newest = _read(resources, grant.tenant_id)
    log.info("token_refreshed", tenant=grant.tenant_id, version=newest.version)
    return newest
