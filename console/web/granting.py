"""Turns the code of a consent into a connected tenant: exchange, ask whose it is, bind. Nothing half is kept."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog

from console.web.browser import Connected
from shared.db import binding, connections
from shared.db.tenants import LONGEST_NAME
from shared.models import Token
from shared.text import clean

if TYPE_CHECKING:
    from console.web.resources import Resources
    from shared.db.consents import Consent
    from shared.front.objects import Identity
    from shared.models import Tokens
    from shared.settings import Settings

EXCHANGE_SECONDS = 10.0
IDENTITY_SECONDS = 8.0
log = structlog.get_logger(__name__)


def redirect_uri(settings: Settings) -> str:
    """Where Front sends browsers back to; the app's OAuth page must list it."""
    return f"{settings.public_url}/oauth/callback"


def connect_with_code(held: Resources, consent: Consent, code: str) -> Connected:
    """Connect the tenant whose link the consent was given with, and end the link.

    Raises what TokenEndpoint.exchange and TenantClient.me raise, and NotBound; then nothing was changed and the tokens
    are forgotten.
    """
    tokens = held.token_endpoint.exchange(
        code, redirect_uri=redirect_uri(held.settings), until=time.monotonic() + EXCHANGE_SECONDS
    )
    owner = _owner(held, consent, tokens)
    secret = held.vault.seal(
        consent.tenant_id, {"access_token": tokens.access_token, "refresh_token": tokens.refresh_token}
    )
    with held.pool.transaction() as conn:
        binding.bind(conn, consent.tenant_id, owner.company_id)
        at = binding.use_link(conn, consent.link)
        connections.connect(conn, consent.tenant_id, kind="oauth", secret=secret, expires_at=tokens.expires_at)
    log.info("tenant_connected", tenant=consent.tenant_id, company=owner.company_id)
    # Browsers drop a cookie over 4 kB, and forget with it what was connected.
    name = clean(owner.name, LONGEST_NAME)
    return Connected(tenant_id=consent.tenant_id, company_id=owner.company_id, company=name, at=at)


def _owner(held: Resources, consent: Consent, tokens: Tokens) -> Identity:
    """The company that the tokens are of."""
    # Until Front has said which company it is, its calls are counted for the tenant.
    counted_for = consent.company_id or f"tenant-{consent.tenant_id}"
    token = Token(tenant_id=consent.tenant_id, company_id=counted_for, version=0, access_token=tokens.access_token)
    client = held.front.for_tenant(token)
    with client.until(time.monotonic() + IDENTITY_SECONDS):
        return client.me()
