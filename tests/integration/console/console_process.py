"""The console as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import requests

from bench.harness.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parents[3]
INHERITED = ("PATH", "COVERAGE_PROCESS_CONFIG")
STARTS_WITHIN = ENDS_WITHIN = 60.0


@dataclass(frozen=True, kw_only=True)
class Console:
    """A running console."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def printed(self) -> str:
        """Return all output so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")


def spawn(log: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a console with this environment added to the inherited one."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "console.web"],
            env={name: os.environ[name] for name in INHERITED if name in os.environ} | dict(environment),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )


@contextmanager
def running_console(log: Path, environment: Mapping[str, str]) -> Iterator[Console]:
    """Run a console until the end of the block."""
    port = int(environment.get("CONSOLE_PORT", 0)) or free_port()
    url = f"http://127.0.0.1:{port}"
    own = {"CONSOLE_PORT": str(port), "PUBLIC_URL": url, "LOG_LEVEL": "DEBUG", "LOG_FORMAT": "json"}
    console = Console(url=url, process=spawn(log, {**own, **environment}), log=log)
    try:
        _wait_until_alive(console)
        yield console
    finally:
        console.process.terminate()
        console.process.wait(ENDS_WITHIN)


def _wait_until_alive(console: Console) -> None:
    deadline = time.monotonic() + STARTS_WITHIN
    while True:
        try:
            assert requests.get(f"{console.url}/livez", timeout=10).status_code == 200
        except requests.ConnectionError:
            assert console.process.poll() is None, console.printed()
            assert time.monotonic() < deadline, console.printed()
            time.sleep(0.1)
        else:
            return
