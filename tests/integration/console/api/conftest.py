"""The console's application on a real PostgreSQL, and tokens for its API."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from console.web.app import create_app
from console.web.resources import open_resources
from shared.settings import Settings
from tests.integration.console.api.client import ApiClient, token_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg
    from flask_openapi3 import OpenAPI

    from tests.integration.console.conftest import Mailroom


@pytest.fixture
def application(web_environment: dict[str, str]) -> Iterator[OpenAPI]:
    given = {name.lower(): value for name, value in web_environment.items() if name != "NO_COLOR"}
    settings = Settings(front_client_id="an-id", front_client_secret="a-client-secret", **given)  # type: ignore[arg-type]
    resources = open_resources(settings)
    yield create_app(settings, resources=resources)
    resources.pool.close()


@pytest.fixture
def api(application: OpenAPI, mailroom: Mailroom) -> ApiClient:
    """An API client that may do everything."""
    return ApiClient(client=application.test_client(), token=token_for(mailroom, "everything", "--scope", "write"))


@pytest.fixture
def tenant(acme: str, conn: psycopg.Connection) -> int:
    row = conn.execute("SELECT id FROM tenants WHERE name = %s", (acme,)).fetchone()
    assert row
    return int(row[0])


@pytest.fixture
def users(tenant: int) -> str:
    """The path of Acme's users."""
    return f"/tenants/{tenant}/users"
