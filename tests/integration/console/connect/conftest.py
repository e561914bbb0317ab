"""A console and a sandbox for all tests of a file, both over HTTP, and the operator's command."""

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
    """A console, its database and its Front. Several tests share it, and each has tenants of its own."""

    console: Console
    front: RunningSandbox
    environment: dict[str, str | None]
    conn: psycopg.Connection[Any]

    @property
    def mailroom(self) -> Mailroom:
        """The operator's command."""
        return Mailroom(environment=self.environment)

    def company(self, name: str | None = None) -> str:
        """Create a company in Front and return its id."""
        company_id = f"cmp_{next(NUMBERS)}"
        self.front.front.ensure_company(
            company_id, name or f"Company <b>{company_id}</b>", f"api-token-of-{company_id}"
        )
        return company_id

    def tenant(self, *options: str) -> str:
        """Add a tenant without a connection and return its name."""
        name = f"Tenant {next(NUMBERS)}"
        self.mailroom("tenant", "add", name, *options)
        return name

    def link(self, tenant: str) -> str:
        """Create a connect link for the tenant's admin and return its URL."""
        url: str = self.mailroom.json("tenant", "connect", tenant)["url"]
        return url

    def show(self, tenant: str) -> dict[str, Any]:
        """Return the document of `mailroom tenant show`."""
        found: dict[str, Any] = self.mailroom.json("tenant", "show", tenant)
        return found

    def secret(self, tenant: str) -> dict[str, str]:
        """Return the tenant's stored tokens, decrypted."""
        grant = connections.read(self.conn, self.show(tenant)["id"])
        assert grant
        return TokenVault([SecretStr(str(self.environment["TOKEN_KEYS"]))]).open(grant.tenant_id, grant.secret)

    def fault(self, kind: str, path: str) -> None:
        """Have Front fail once on this path."""
        rule = {"kind": kind, "path_regex": path, "count": 1}
        assert requests.post(f"{self.front.url}/sandbox/faults", json=rule, timeout=30).ok

    def expire_links(self, tenant: str) -> None:
        """Expire the tenant's links."""
        self.conn.execute(
            "UPDATE connect_links SET expires_at = now() WHERE tenant_id = %s", (self.show(tenant)["id"],)
        )


@contextmanager
def running_site(database_url: str, redis_url: str, folder: Any, **settings: str) -> Iterator[Site]:
    """Run a sandbox and a console until the end of the block."""
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
