"""Start `mailroom up` with small programs in a process of its own, as a person would."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from bench.harness.ports import free_port
from console.up import data_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROGRAM = Path(__file__).with_name("small_up.py")
TIMEOUT = 40.0  # seconds; only a busy machine needs more than two


def wait_until(fact: Callable[[], bool], what: str) -> None:
    """Wait until the fact is true; fail with `what` after the timeout."""
    deadline = time.monotonic() + TIMEOUT
    while not fact():
        assert time.monotonic() < deadline, f"in {TIMEOUT:g} s never: {what}"
        time.sleep(0.05)


class Started:
    """One `mailroom up` in `folder`, with a Procfile."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self.data = folder / "data"
        self._log = folder / "output"
        with self._log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, PROGRAM, folder],
                env=environ,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        """All output so far."""
        return self._log.read_text()

    def wait_for(self, text: str, times: int = 1) -> None:
        """Wait until `text` was printed that many times."""
        wait_until(lambda: self.output.count(text) >= times or self.process.poll() is not None, repr(text))
        assert self.output.count(text) >= times, self.output

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def ended(self) -> int:
        """Wait for the process to end and return its exit status."""
        return self.process.wait(TIMEOUT)

    def descendants(self) -> list[psutil.Process]:
        """Return all descendants of this process."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def child(self, name: str) -> psutil.Process:
        """Return the only direct child of that name."""
        [found] = [child for child in psutil.Process(self.process.pid).children() if child.name() == name]
        return found

    def published(self) -> dict[str, str]:
        """The environment that `up` publishes for other commands."""
        return data_folder.read_settings(self.data)


@pytest.fixture
def start(tmp_path_factory: pytest.TempPathFactory, servers_folder: Path) -> Iterator[Callable[..., Started]]:
    """Write a Procfile and start it with `start("web: …", PORT="8099", folder=…)`."""
    started: list[Started] = []

    def start(procfile: str, *, folder: Path | None = None, **settings: str) -> Started:
        folder = folder or servers_folder / tmp_path_factory.mktemp("up with spaces ").name
        folder.mkdir(exist_ok=True)
        (folder / "Procfile").write_text(procfile)
        python_path = str(Path(__file__).parents[3])
        started.append(Started(folder, {**os.environ, "PYTHONPATH": python_path, "PORT": str(free_port()), **settings}))
        return started[-1]

    yield start
    for one in started:
        with suppress(ProcessLookupError):
            one.process.terminate()
        one.ended()


@pytest.fixture
def given_servers(database_url: str, redis_url: str) -> dict[str, str]:
    """Settings that name servers, so that `up` starts none of its own and is quicker."""
    return {"DATABASE_URL": database_url, "REDIS_URL": redis_url}
