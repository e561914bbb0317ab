"""The command as an operator runs it, with servers for this test alone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from click.testing import CliRunner, Result
from cryptography.fernet import Fernet

from console.cli import main
from sandbox.server import RunningSandbox, start_in_thread
from sandbox.settings import SandboxSettings
from tests.integration.console.api.client import token_for
from tests.integration.console.console_process import served_application

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Mailroom:
    """Run `mailroom …` in this process."""

    environment: dict[str, str | None]

    def __call__(self, *arguments: object, code: int = 0) -> Result:
        """Run the command and expect this exit code."""
        result = CliRunner().invoke(main, [str(each) for each in arguments], env=self.environment)
        assert result.exit_code == code, result.output + repr(result.exception)
        return result

    def json(self, *arguments: object, code: int = 0) -> Any:
        """Run the command with --json and return its document."""
        return json.loads(self(*arguments, "--json", code=code).stdout)


@pytest.fixture
def environment(database: str, redis_db: str, tmp_path: Path) -> dict[str, str | None]:
    return {
        "DATABASE_URL": database,
        "REDIS_URL": redis_db,
        "MAILROOM_DATA": str(tmp_path / "data"),
        "TOKEN_KEYS": Fernet.generate_key().decode(),
        "FRONT_SIGNING_KEYS": "a-signing-key",
        "MAILROOM_ENV": None,
        "NO_COLOR": "1",
    }


@pytest.fixture
def web_environment(environment: dict[str, str | None]) -> dict[str, str]:
    """The environment of a console process."""
    given = {name: value for name, value in environment.items() if value is not None}
    return {**given, "SECRET_KEY": "a-secret-of-this-test"}


@pytest.fixture
def mailroom(environment: dict[str, str | None]) -> Mailroom:
    return Mailroom(environment=environment)


@dataclass(frozen=True, kw_only=True)
class Elsewhere:
    """Makes the command of a machine that has nothing but a console's address and a token."""

    url: str
    environment: dict[str, str | None]

    def command(self, token: str) -> Mailroom:
        """Return the command with this token."""
        return Mailroom(environment={**self.environment, "MAILROOM_URL": self.url, "MAILROOM_TOKEN": token})


@pytest.fixture
def elsewhere(web_environment: dict[str, str], tmp_path: Path) -> Iterator[Elsewhere]:
    """A console on the test's servers, and a machine without any of their settings."""
    alone: dict[str, str | None] = {**dict.fromkeys(web_environment), "MAILROOM_DATA": str(tmp_path), "NO_COLOR": "1"}
    with served_application(web_environment) as url:
        yield Elsewhere(url=url, environment=alone)


@pytest.fixture(params=["here", "elsewhere"])
def command(request: pytest.FixtureRequest, mailroom: Mailroom) -> Mailroom:
    """The command beside the database, and elsewhere."""
    if request.param == "here":
        return mailroom
    token = token_for(mailroom, "elsewhere", "--scope", "write")
    place: Elsewhere = request.getfixturevalue("elsewhere")
    return place.command(token)


@pytest.fixture
def conn(database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database, autocommit=True) as conn:
        yield conn


@pytest.fixture
def front(environment: dict[str, str | None], tmp_path: Path) -> Iterator[RunningSandbox]:
    """A sandbox in place of Front; no door listens to its webhooks."""
    running = start_in_thread(
        SandboxSettings(
            door="http://127.0.0.1:9/webhooks/front", signing_key="a-signing-key", port=0, tries=1, retry_seconds=0
        )
    )
    environment |= {"FRONT_API_URL": running.url, "SANDBOX_PORT": str(running.port)}
    yield running
    running.stop()


@pytest.fixture
def acme(mailroom: Mailroom, tmp_path: Path) -> str:
    """Add a connected tenant."""
    token = tmp_path / "acme.token"
    token.write_text("acme-api-token\n")
    mailroom("tenant", "add", "Acme", "--company", "cmp_acme", "--api-token-file", token, "--no-check")
    return "Acme"
