"""The clients and pools that the console's requests work with, made once per process."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING, cast

from flask import current_app

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
#: The path to which an OpenID provider sends the browser back.
OIDC_RETURN = "/login/oidc/callback"
#: Threads that answer requests; each holds a connection for milliseconds.
THREADS = 16
CONNECTIONS = 6
#: Of those threads, one tenant's changes of users may take this many; the rest serves the other tenants.
MOST_THREADS_OF_A_TENANT = 12
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
    provider: OpenIdProvider | None = None
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
    if settings.oidc_issuer:
        _require_oidc(settings)
    return settings


def _require_oidc(settings: Settings) -> None:
    settings.require("oidc_client_id", "oidc_client_secret")
    if find_spec("authlib") is None or find_spec("joserfc") is None:
        raise ConfigurationError(
            "OIDC_ISSUER: the package Authlib is not installed; install mailroom[oidc], or unset OIDC_ISSUER"
        )


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
        provider=_open_provider(settings),
    )


def _open_provider(settings: Settings) -> OpenIdProvider | None:
    if not settings.oidc_issuer:
        return None
    from shared.openid import OpenIdProvider  # noqa: PLC0415 -- its packages are an extra

    return OpenIdProvider(
        settings.oidc_issuer,
        client_id=settings.oidc_client_id,
        client_secret=settings.oidc_client_secret.get_secret_value(),
        redirect_uri=f"{settings.public_url}{OIDC_RETURN}",
    )


def attach_resources(app: Flask, resources: ConsoleResources) -> None:
    """Give the application its resources."""
    app.extensions[EXTENSION] = resources


def current_resources() -> ConsoleResources:
    """Return the resources of the application that answers the current request."""
    return cast("ConsoleResources", current_app.extensions[EXTENSION])
