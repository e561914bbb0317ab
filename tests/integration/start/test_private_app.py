"""The page on private apps is typed line by line, with a small Front in Front's place."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from bench.harness.ports import free_ports
from console.up.embedded import Valkey
from sandbox.server import RunningSandbox, start_in_thread
from sandbox.settings import SandboxSettings
from tests.documents import marked
from tests.integration.start.conftest import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from console.up.embedded import Postgres

ROOT = Path(__file__).parents[3]
TYPED = {mark.removeprefix("private app: "): text for mark, text in marked("docs/private-app.md").items()}
SIGNING_KEY, TOKEN, COMPANY = "the-app-secret-of-step-1", "the-api-token-of-step-2", "cmp_us"
NORA = "nora@your.company"


class Newcomer:
    """Types into bash in one terminal after the other, at a home of their own."""

    def __init__(self, home: Path, values: dict[str, str], settings: dict[str, str]) -> None:
        self._values = values
        self._environment = {"HOME": str(home), "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", **settings}
        self._started: list[subprocess.Popen[str]] = []

    def types(self, *lines: str) -> str:
        """Type the lines in a new terminal in the source folder; what is shown. Every line has to succeed."""
        text = "\n".join(lines)
        for sample, value in self._values.items():
            text = text.replace(sample, value)
        bash = subprocess.Popen(
            ["bash", "-e"], stdin=-1, stdout=-1, stderr=subprocess.STDOUT, text=True, cwd=ROOT,
            env=self._environment, start_new_session=True,
        )  # fmt: skip
        self._started.append(bash)
        shown, _ = bash.communicate(text + "\n", timeout=100)
        assert bash.returncode == 0, shown
        return shown

    def leave(self) -> None:
        """Close all terminals; `mailroom up` stops with its own."""
        for bash in self._started:
            with suppress(ProcessLookupError):
                os.killpg(bash.pid, signal.SIGTERM)
        wait_until(lambda: not any(map(self._is_running, self._started)), "all processes ended")

    @staticmethod
    def _is_running(bash: subprocess.Popen[str]) -> bool:
        try:
            os.killpg(bash.pid, 0)
        except ProcessLookupError:
            return False
        return True


@pytest.fixture
def ports() -> list[int]:
    return free_ports(2)


@pytest.fixture
def front(ports: list[int]) -> Iterator[RunningSandbox]:
    door = f"http://127.0.0.1:{ports[0]}/webhooks/front"
    running = start_in_thread(SandboxSettings(door=door, signing_key=SIGNING_KEY, port=0))
    running.front.ensure_company(COMPANY, "Us", TOKEN)
    yield running
    running.stop()


@pytest.fixture
def newcomer(tmp_path: Path, ports: list[int], front: RunningSandbox, own_postgres: Postgres) -> Iterator[Newcomer]:
    values = {
        "MAILROOM_ENV=production": "MAILROOM_ENV=development",  # the small Front speaks no https
        "postgresql://mailroom:password@localhost/mailroom": f"'{own_postgres.url}'",
    }
    settings = {"PORT": str(ports[0]), "CONSOLE_PORT": str(ports[1]), "FRONT_API_URL": front.url}
    with Valkey(tmp_path / "valkey") as valkey:
        newcomer = Newcomer(tmp_path, {**values, "redis://localhost:6379/0": f"'{valkey.url}'"}, settings)
        yield newcomer
        newcomer.leave()


def test_the_section_has_these_blocks_and_each_sample_value() -> None:
    assert list(TYPED) == ["install", "settings", "start", "connect", "test"]
    for sample in (SIGNING_KEY, TOKEN, NORA, "MAILROOM_ENV=production", "postgresql://mailroom:password@localhost/"):
        assert sample in "".join(TYPED.values())


def test_every_line_works_and_the_first_mail_is_done(newcomer: Newcomer, front: RunningSandbox, tmp_path: Path) -> None:
    shown = newcomer.types(*(TYPED[name] for name in ("install", "settings", "start", "connect")))
    assert "WRONG" not in shown
    assert "connected Us" in shown
    home = tmp_path / "mailroom"
    assert sorted(path.name for path in home.iterdir() if path.suffix != ".lock") == [
        ".mailroom",
        "files",
        "log",
        "settings",
    ]
    assert (home / "settings").stat().st_mode & 0o077 == 0
    wait_until(lambda: "Mailroom is running" in (home / "log").read_text(), "all processes listen")
    message = {"type": "inbound_received", "company": COMPANY, "recipients": [{"handle": NORA, "role": "to"}]}
    [event] = requests.post(f"{front.url}/sandbox/send", json=message, timeout=30).json()["events"]
    again = (TYPED["install"].splitlines()[1], TYPED["start"].splitlines()[0])
    wait_until(lambda: event["event_id"] in newcomer.types(*again, TYPED["test"]), "the event is listed")
    wait_until(lambda: " done " in newcomer.types(*again, TYPED["test"]), "the conversation is archived")
