"""What the console's requests work with: chosen once per process."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from flask import current_app

from console.tenant_concurrency import TenantLocks
from shared.connection.tokens import front_client, token_endpoint
from shared.connection.vault import TokenVault
from shared.db.core.pool import Pool, open_pool
from shared.errors import ConfigurationError

if TYPE_CHECKING:
    from flask import Flask

    from shared.front.client import FrontClient
    from shared.front.oauth import TokenEndpoint
    from shared.settings import Settings

NEEDED = ("database_url", "redis_url", "token_keys", "secret_key")
NAME = "mailroom"
#: Threads that answer; each holds a connection for milliseconds.
THREADS = 16
CONNECTIONS = 6
#: Of those threads one tenant's changes of users may take this many, for this long; the others are everybody's.
MOST_OF_A_TENANT = 12
TURN_SECONDS = 5.0
#: A sender is told within this time; a statement has 30 s by the server's clock.
LONGEST_SECONDS = 35.0


@dataclass(frozen=True, kw_only=True)
class Resources:
    """The real things behind the pages and the API."""

    name: str
    settings: Settings
    pool: Pool
    front: FrontClient
    token_endpoint: TokenEndpoint
    vault: TokenVault
    tenant_locks: TenantLocks = field(
        default_factory=lambda: TenantLocks(max_requests=MOST_OF_A_TENANT, timeout_seconds=TURN_SECONDS)
    )


def usable(settings: Settings) -> Settings:
    """The settings, if a console can be run with them. Raises ConfigurationError."""
    settings.require(*NEEDED)
    if settings.mailroom_env == "production" and not settings.public_url.startswith("https://"):
        raise ConfigurationError("PUBLIC_URL: must be https in production; it is where people reach the console")
    return settings


def open_resources(settings: Settings) -> Resources:
    """Everything the console needs; connects when first used. Raises ConfigurationError."""
    usable(settings)
    name = f"console@{socket.gethostname()}:{os.getpid()}"
    return Resources(
        name=name,
        settings=settings,
        pool=open_pool(settings, size=CONNECTIONS, application_name=name, longest=LONGEST_SECONDS),
        front=front_client(settings),
        token_endpoint=token_endpoint(settings),
        vault=TokenVault(settings.token_keys),
    )


def lend(app: Flask, resources: Resources) -> None:
    """Give the app its resources."""
    app.extensions[NAME] = resources


def current() -> Resources:
    """The resources of the app that answers the current request."""
    return cast("Resources", current_app.extensions[NAME])
