"""A console and a small Front for all tests of a file, both reached over HTTP, and an operator who makes links."""

from __future__ import annotations

import itertools
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import requests
from cryptography.fernet import Fernet
from pydantic import SecretStr

from sandbox.server import RunningSandbox, start_in_thread
from sandbox.settings import SandboxSettings
from shared.connection.vault import TokenVault
from shared.db.tenants import connections
from tests.integration.console.conftest import Mailroom
from tests.integration.console.connect.browser import Browser
from tests.integration.console.console_process import Console, running_console

if TYPE_CHECKING:
    from collections.abc import Iterator

CLIENT = {"FRONT_CLIENT_ID": "the-app", "FRONT_CLIENT_SECRET": "canary-client-secret"}
NUMBERS = itertools.count(1)


@dataclass(frozen=True, kw_only=True)
class Site:
    """One console, its database, and the Front it knows. Several tests share it: each has tenants of its own."""

    console: Console
    front: RunningSandbox
    environment: dict[str, str | None]
    conn: psycopg.Connection[Any]

    @property
    def mailroom(self) -> Mailroom:
        """The operator's command."""
        return Mailroom(environment=self.environment)

    def company(self, name: str | None = None) -> str:
        """A company in Front that nobody knows yet."""
        company_id = f"cmp_{next(NUMBERS)}"
        self.front.front.ensure_company(
            company_id, name or f"Company <b>{company_id}</b>", f"api-token-of-{company_id}"
        )
        return company_id

    def tenant(self, *options: str) -> str:
        """A tenant that nobody connected."""
        name = f"Tenant {next(NUMBERS)}"
        self.mailroom("tenant", "add", name, *options)
        return name

    def link(self, tenant: str) -> str:
        """What the operator sends to its admin."""
        url: str = self.mailroom.json("tenant", "connect", tenant)["url"]
        return url

    def show(self, tenant: str) -> dict[str, Any]:
        """The tenant as the command shows it."""
        found: dict[str, Any] = self.mailroom.json("tenant", "show", tenant)
        return found

    def secret(self, tenant: str) -> dict[str, str]:
        """What the tenant's row holds, opened."""
        grant = connections.read(self.conn, self.show(tenant)["id"])
        assert grant
        return TokenVault([SecretStr(str(self.environment["TOKEN_KEYS"]))]).open(grant.tenant_id, grant.secret)

    def fault(self, kind: str, path: str) -> None:
        """Let Front go wrong once."""
        rule = {"kind": kind, "path_regex": path, "count": 1}
        assert requests.post(f"{self.front.url}/sandbox/faults", json=rule, timeout=30).ok

    def expire_links(self, tenant: str) -> None:
        """Let the tenant's links be too old."""
        self.conn.execute(
            "UPDATE connect_links SET expires_at = now() WHERE tenant_id = %s", (self.show(tenant)["id"],)
        )


@contextmanager
def running_site(database_url: str, redis_url: str, folder: Any, **settings: str) -> Iterator[Site]:
    """Start all of it."""
    with ExitStack() as stack:
        sandbox = SandboxSettings(
            door="http://127.0.0.1:9/webhooks/front",
            signing_key="a-signing-key",
            port=0,
            requests_per_minute=0,
            client_id=CLIENT["FRONT_CLIENT_ID"],
            client_secret=CLIENT["FRONT_CLIENT_SECRET"],
        )
        front = start_in_thread(sandbox)
        stack.callback(front.stop)
        environment = {
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "MAILROOM_DATA": str(folder / "data"),
            "TOKEN_KEYS": Fernet.generate_key().decode(),
            "SECRET_KEY": "canary-cookie-key",
            "FRONT_API_URL": front.url,
            "FRONT_APP_URL": front.url,
            **CLIENT,
            **settings,
        }
        console = stack.enter_context(running_console(folder / "console.log", environment))
        conn = stack.enter_context(psycopg.connect(database_url, autocommit=True))
        command: dict[str, str | None] = {"PUBLIC_URL": console.url, "MAILROOM_ENV": None, "NO_COLOR": "1"}
        yield Site(console=console, front=front, environment={**environment, **command}, conn=conn)
    assert "Traceback" not in console.printed()


@pytest.fixture(scope="module")
def site(database_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_site(database_url, redis_url, tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.fixture
def browser() -> Browser:
    return Browser()
