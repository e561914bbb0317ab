"""A tenant's token for Front. One process at a time refreshes it: before it expires, or when Front refuses it.

A process claims the refresh in a row, and then calls Front with no transaction open. With a row lock, the process and
all that wait for it would each hold a connection of the pool for as long as Front takes. Meanwhile the other processes
use the expiring token, or give their tasks back for a second. The claim ends later than the call may be sent.
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
from shared.db.core.pool import Pool, retry_until_stored
from shared.db.tenants import connections
from shared.db.tenants.connections import KEEP_ALIVE_AFTER
from shared.errors import MailroomError, NeedsReconnect, TokenUnavailable
from shared.front.client import FrontClient
from shared.front.oauth import TokenEndpoint, UnclearRefusal
from shared.front.token_lifetime import Freshness, freshness
from shared.models import Grant, Token, Tokens
from shared.settings import Settings

CALL_SECONDS = 10.0
CLAIM_SECONDS = 20.0
#: The wait for another process that refreshes the token; most calls to Front take less.
OTHER_REFRESH_SECONDS = 1.0
log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class FrontResources:
    """Everything that is needed to call Front as a tenant. Setting `stop` ends every wait."""

    pool: Pool
    vault: TokenVault
    token_endpoint: TokenEndpoint
    front: FrontClient
    stop: threading.Event = field(default_factory=threading.Event)


def front_client(settings: Settings) -> FrontClient:
    """Return a client of Front's API with the budget that all processes share."""
    return FrontClient(settings.front_api_url, Budget.from_url(settings.redis_url.get_secret_value()))


def token_endpoint(settings: Settings) -> TokenEndpoint:
    """Return Front's token endpoint for our app."""
    return TokenEndpoint(
        settings.front_app_url,
        client_id=settings.front_client_id,
        client_secret=settings.front_client_secret.get_secret_value(),
    )


def current_token(resources: FrontResources, tenant_id: int, *, refused: int = 0, grant: Grant | None = None) -> Token:
    """Return the tenant's token, refreshed when that is due.

    `refused` is the version of a token that Front refused. An OAuth token of this version is replaced; an API token is
    returned as it is. A caller that has just read the tenant's `grant` passes it on. Raises NeedsReconnect,
    TokenUnavailable, UnreadableSecret.
    """
    grant = grant or _read_grant(resources, tenant_id)
    match _freshness(grant, refused):
        case "expiring":
            grant = _try_refresh(resources, grant)
        case "expired":
            grant = _refresh(resources, grant)
    return decrypted_token(resources, grant)


def decrypted_token(resources: FrontResources, grant: Grant) -> Token:
    """Decrypt the grant's token, however old it is. Raises UnreadableSecret."""
    return Token(
        tenant_id=grant.tenant_id,
        company_id=grant.company_id,
        version=grant.version,
        access_token=_tokens(resources, grant)["access_token"],
    )


def keep_alive(resources: FrontResources, tenant_id: int) -> None:
    """Refresh the tokens of a tenant that was idle for long. A failure is logged, and a later job tries again."""
    try:
        grant = _read_grant(resources, tenant_id)
        is_old = datetime.now(UTC) - grant.updated_at > KEEP_ALIVE_AFTER / 2
        if grant.kind == "oauth" and (is_old or resources.pool.run(lambda c: connections.is_refused(c, tenant_id))):
            _try_refresh(resources, grant)
    except MailroomError as exc:
        log.warning("keep_alive_failed", tenant_id=tenant_id, code=exc.code, reason=str(exc))


def _read_grant(resources: FrontResources, tenant_id: int) -> Grant:
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


def _tokens(resources: FrontResources, grant: Grant) -> dict[str, str]:
    return resources.vault.open(grant.tenant_id, grant.secret)


def _try_refresh(resources: FrontResources, grant: Grant) -> Grant:
    """Return a newer grant, or this one, which is still valid, when Front gives none now."""
    try:
        return _refresh(resources, grant)
    except TokenUnavailable:
        return grant


def _refresh(resources: FrontResources, grant: Grant) -> Grant:
    """Return a newer grant, from Front or from another process. Raises NeedsReconnect, TokenUnavailable."""
    refresh_token = _tokens(resources, grant)["refresh_token"]
    started = time.monotonic()
    if not resources.pool.run(lambda conn: connections.claim_refresh(conn, grant, seconds=CLAIM_SECONDS)):
        return _refreshed_elsewhere(resources, grant)
    try:
        tokens = resources.token_endpoint.refresh(refresh_token, until=started + CALL_SECONDS)
    except NeedsReconnect as exc:
        return _replaced_or_refused(resources, grant, exc)
    except UnclearRefusal as exc:
        _note_refusal(resources, grant, exc)
        raise
    except TokenUnavailable as exc:
        log.warning("token_not_refreshed", tenant_id=grant.tenant_id, reason=str(exc))
        resources.pool.run(partial(connections.postpone_refresh, grant=grant, seconds=exc.retry_after))
        raise
    failpoints.reach("refreshed_before_commit")
    return _store(resources, grant, tokens)


def _refreshed_elsewhere(resources: FrontResources, grant: Grant) -> Grant:
    """Return the grant that another process has stored. Raises TokenUnavailable when there is none yet."""
    latest = _read_grant(resources, grant.tenant_id)
    if latest.version == grant.version:
        left = resources.pool.run(lambda conn: connections.seconds_until_refresh(conn, grant.tenant_id))
        wait = left if left > CLAIM_SECONDS else OTHER_REFRESH_SECONDS
        raise TokenUnavailable("a new token is on its way or was asked for just now", retry_after=wait)
    return latest


def _note_refusal(resources: FrontResources, grant: Grant, refusal: UnclearRefusal) -> None:
    """Put the next refresh off. Raises NeedsReconnect when Front has refused the grant for an hour."""
    log.warning("token_refused_unclearly", tenant_id=grant.tenant_id, version=grant.version, reason=str(refusal))
    if resources.pool.run(lambda conn: connections.note_refusal(conn, grant, seconds=refusal.retry_after)):
        raise NeedsReconnect(f"Front has given no new token for an hour. {refusal}") from None


def _replaced_or_refused(resources: FrontResources, grant: Grant, refusal: NeedsReconnect) -> Grant:
    """Park the tenant and raise the refusal. If another process has replaced the grant, return that one instead."""
    if resources.pool.run(lambda conn: connections.refuse_grant(conn, grant)):
        log.warning("token_refused", tenant_id=grant.tenant_id, version=grant.version, reason=str(refusal))
        raise refusal
    return _read_grant(resources, grant.tenant_id)


def _store(resources: FrontResources, grant: Grant, tokens: Tokens) -> Grant:
    """Store the tokens and return the latest grant. They may be the only valid ones: wait while PostgreSQL is away."""
    secret = resources.vault.seal(
        grant.tenant_id, {"access_token": tokens.access_token, "refresh_token": tokens.refresh_token}
    )
    store = partial(connections.store_refreshed, grant=grant, secret=secret, expires_at=tokens.expires_at)
    retry_until_stored(
        lambda: resources.pool.run(store), stop=resources.stop, event="tokens_not_stored", tenant_id=grant.tenant_id
    )
    latest = _read_grant(resources, grant.tenant_id)
    log.info("token_refreshed", tenant_id=grant.tenant_id, version=latest.version)
    return latest
