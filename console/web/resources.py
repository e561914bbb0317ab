"""The clients and pools that the console's requests work with, made once per process."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, cast

from flask import current_app

from console.access.provider import open_provider, require_provider
from console.feed_watch import FeedWatch
from console.file_types import FileTypes
from console.tenant_concurrency import TenantLocks
from console.web.lookups import Lookups
from shared.connection.tokens import front_client, token_endpoint
from shared.connection.vault import TokenVault
from shared.db.core.pool import Pool, open_pool
from shared.errors import ConfigurationError
from shared.process.heartbeat import process_name
from shared.storage import Storage

if TYPE_CHECKING:
    from flask import Flask

    from shared.front.client import FrontClient
    from shared.front.oauth import TokenEndpoint
    from shared.openid import OpenIdProvider
    from shared.settings import Settings

REQUIRED_SETTINGS = ("database_url", "redis_url", "token_keys", "secret_key")
EXTENSION = "mailroom"
#: Threads that answer requests; each holds a connection for milliseconds.
THREADS = 16
CONNECTIONS = 6
#: Of those threads, one tenant's changes of users may take this many; the rest serves the other tenants.
MOST_THREADS_OF_A_TENANT = 12
#: So many readers of the feed may wait for the next notification, and of one token; each has a thread meanwhile.
MOST_READERS = 8
MOST_READERS_OF_ONE = 3
#: Exports that run at a time: each reads batch after batch.
MOST_EXPORTS = 2
#: Such a change waits so long for those of the same tenant.
LOCK_SECONDS = 5.0
#: A sender gets an answer within this time; PostgreSQL's own limit for a statement is 30 s.
LONGEST_SECONDS = 35.0


@dataclass(frozen=True, kw_only=True)
class ConsoleResources:
    """The connections and clients behind the pages and the API."""

    name: str
    settings: Settings
    pool: Pool
    front: FrontClient
    token_endpoint: TokenEndpoint
    vault: TokenVault
    lookups: Lookups
    feed_watch: FeedWatch
    provider: OpenIdProvider | None = None
    export_slots: threading.BoundedSemaphore = field(default_factory=lambda: threading.BoundedSemaphore(MOST_EXPORTS))
    tenant_locks: TenantLocks = field(
        default_factory=lambda: TenantLocks(max_requests=MOST_THREADS_OF_A_TENANT, timeout_seconds=LOCK_SECONDS)
    )

    @cached_property
    def storage(self) -> Storage:
        """The storage of files, opened when it is first needed. Raises ConfigurationError."""
        return Storage(self.settings.storage)

    @cached_property
    def file_types(self) -> FileTypes:
        """The types of stored files by their first bytes."""
        return FileTypes(lambda: self.storage)


def require_usable(settings: Settings) -> Settings:
    """Return the settings if a console can run with them. Raises ConfigurationError."""
    settings.require(*REQUIRED_SETTINGS)
    if settings.mailroom_env == "production" and not settings.public_url.startswith("https://"):
        raise ConfigurationError("PUBLIC_URL: must be https in production; it is where people reach the console")
    require_provider(settings)
    return settings


def open_resources(settings: Settings) -> ConsoleResources:
    """Make everything that the console needs; it connects at first use. Raises ConfigurationError."""
    require_usable(settings)
    name = process_name("console")
    pool = open_pool(settings, size=CONNECTIONS, application_name=name, max_seconds=LONGEST_SECONDS)
    return ConsoleResources(
        name=name,
        settings=settings,
        pool=pool,
        front=front_client(settings),
        token_endpoint=token_endpoint(settings),
        vault=TokenVault(settings.token_keys),
        lookups=Lookups(settings, pool),
        provider=open_provider(settings),
        feed_watch=FeedWatch(pool, most=MOST_READERS, most_of_one=MOST_READERS_OF_ONE),
    )


def attach_resources(app: Flask, resources: ConsoleResources) -> None:
    """Give the application its resources."""
    app.extensions[EXTENSION] = resources


def current_resources() -> ConsoleResources:
    """Return the resources of the application that answers the current request."""
    return cast("ConsoleResources", current_app.extensions[EXTENSION])
