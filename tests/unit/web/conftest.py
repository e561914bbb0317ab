"""The console's application without servers behind it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import pytest

from console.feed_watch import FeedWatch
from console.web.app import create_app
from console.web.lookups import Lookups
from console.web.resources import ConsoleResources
from shared.connection.budget import Budget
from shared.connection.vault import TokenVault
from shared.errors import StoreUnavailable
from shared.front.client import FrontClient
from shared.front.oauth import TokenEndpoint
from shared.settings import Settings

if TYPE_CHECKING:
    from flask_openapi3 import OpenAPI

KEY = "wqW1C9jKCtz4sTk5m0aWv1rV2nqJQmQbXH7gO4gGJ2o="
NOWHERE = "http://127.0.0.1:9"


class UnavailablePool:
    """A pool whose PostgreSQL does not answer."""

    def run(self, work: Callable[..., object]) -> object:
        raise StoreUnavailable("PostgreSQL does not answer")


class FixedPool:
    """A pool that returns the same result for all work."""

    def __init__(self, found: object) -> None:
        self._found = found

    def run(self, work: Callable[..., object]) -> object:
        return self._found


Console: TypeAlias = Callable[..., "OpenAPI"]


def resources_for(pool: UnavailablePool | FixedPool | None = None, **given: str) -> ConsoleResources:
    """Return resources whose servers are away; keywords replace the usual settings."""
    settings = Settings(**{"secret_key": "s", "token_keys": [KEY], "front_api_url": NOWHERE, **given})  # type: ignore[arg-type]
    return ConsoleResources(
        name="console@test",
        settings=settings,
        pool=pool or UnavailablePool(),  # type: ignore[arg-type]
        front=FrontClient(NOWHERE, Budget.from_url("redis://127.0.0.1:9")),
        token_endpoint=TokenEndpoint(NOWHERE, client_id="id", client_secret="secret"),
        vault=TokenVault(settings.token_keys),
        lookups=Lookups(settings, UnavailablePool()),  # type: ignore[arg-type]
        feed_watch=FeedWatch(UnavailablePool(), most=1, most_of_one=1),  # type: ignore[arg-type]
    )


@pytest.fixture
def console() -> Console:
    """Return a function that makes the application; its keywords replace the usual settings."""

    def make(pool: UnavailablePool | FixedPool | None = None, **given: str) -> OpenAPI:
        resources = resources_for(pool, **given)
        return create_app(resources.settings, resources=resources)

    return make
