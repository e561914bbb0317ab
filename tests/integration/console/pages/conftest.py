"""A console whose pages people open, one for all tests of a file, and browsers for them."""

from __future__ import annotations

import itertools
import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import requests
from cryptography.fernet import Fernet

from tests.integration.console.conftest import Mailroom
from tests.integration.console.console_process import Console, running_console

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PASSWORD = "correct horse battery staple"
TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')
NUMBERS = itertools.count(1)


@dataclass(frozen=True, kw_only=True)
class Site:
    """A console and its database."""

    console: Console
    mailroom: Mailroom
    conn: psycopg.Connection[Any]

    def add_account(self, role: str = "admin") -> tuple[str, str]:
        """Add somebody; return their e-mail address and the link that sets the password."""
        email = f"person{next(NUMBERS)}@example.com"
        return email, self.mailroom.json("admin", "add", email, "--role", role)["link"]

    def browser(self) -> Browser:
        """Return a browser of somebody who is not logged in."""
        return Browser(self.console.url)

    def logged_in(self, role: str = "admin") -> Browser:
        """Return a browser of somebody with this role."""
        _, link = self.add_account(role)
        browser = self.browser()
        assert browser.submit(link, password=PASSWORD, again=PASSWORD).status_code == 303
        return browser

    def audit(self) -> list[tuple[str, str, str, bool]]:
        """Return who asked for what, the first entry first."""
        return self.conn.execute("SELECT who, via, verb, allowed FROM audit ORDER BY id").fetchall()


class Browser:
    """Opens pages and submits their forms as a browser does, without following redirects."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.session = requests.Session()
        self.session.trust_env = False

    def open(self, path: str, **headers: str) -> requests.Response:
        """Open an address of the console."""
        return self.session.get(self._address(path), headers=headers, timeout=60, allow_redirects=False)

    def submit(self, path: str, *, to: str | None = None, **fields: str) -> requests.Response:
        """Open a page and submit its form, to the page's own address or another one."""
        token = TOKEN.findall(self.open(path).text)[:1]
        form = {"csrf_token": token[0], **fields} if token else fields
        return self.post(to or path, form)

    def post(self, path: str, form: dict[str, str], **headers: str | None) -> requests.Response:
        """Send a form, by default as a page of the console does."""
        given = {"Sec-Fetch-Site": "same-origin", **headers}
        return self.session.post(self._address(path), data=form, headers=given, timeout=60, allow_redirects=False)

    def _address(self, path: str) -> str:
        return path if path.startswith("http") else self.url + path


@contextmanager
def running_site(database_url: str, redis_url: str, folder: Path, **settings: str) -> Iterator[Site]:
    """Run a console with these settings until the end of the block."""
    environment = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "MAILROOM_DATA": str(folder / "data"),
        "TOKEN_KEYS": Fernet.generate_key().decode(),
        "SECRET_KEY": "canary-cookie-key",
        "FRONT_SIGNING_KEYS": "canary-signing-key",
        **settings,
    }
    with (
        running_console(folder / "console.log", environment) as console,
        psycopg.connect(database_url, autocommit=True) as conn,
    ):
        command: dict[str, str | None] = {"PUBLIC_URL": console.url, "MAILROOM_ENV": None, "NO_COLOR": "1"}
        yield Site(console=console, mailroom=Mailroom(environment={**command, **environment}), conn=conn)
    assert "Traceback" not in console.printed()


@pytest.fixture(scope="module")
def site(database_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_site(database_url, redis_url, tmp_path_factory.mktemp("console")) as site:
        yield site
