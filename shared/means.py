"""What it takes to call Front as a tenant: chosen once per process."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from shared.budget import Budget
from shared.crypto import TokenVault
from shared.db.pool import Pool
from shared.front.client import FrontClient
from shared.front.oauth import TokenEndpoint
from shared.settings import Settings


@dataclass(frozen=True, kw_only=True)
class FrontMeans:
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
