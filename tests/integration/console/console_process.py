"""The console as a process of its own, or its application in a thread of this process."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import requests
from structlog.testing import capture_logs
from werkzeug.serving import WSGIRequestHandler, make_server

from bench.harness.ports import free_port
from console.web.app import create_app
from console.web.resources import open_resources
from shared.settings import Settings

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


class _Silent(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Log nothing."""


@contextmanager
def served_application(environment: Mapping[str, str]) -> Iterator[str]:
    """Serve the application with these settings until the end of the block, and yield its address.

    It starts with a tenth of a process' CPU time: for tests of the routes, not of the server.
    """
    url = f"http://127.0.0.1:{(port := free_port())}"
    given = {name.lower(): value for name, value in environment.items() if name.lower() in Settings.model_fields}
    resources = open_resources(settings := Settings(**{"public_url": url, **given}))  # type: ignore[arg-type]
    app = create_app(settings, resources=resources)
    server = make_server("127.0.0.1", port, app, threaded=True, request_handler=_Silent)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        with capture_logs():  # a command of the same process must not print what the console logs
            yield url
    finally:
        resources.feed_watch.close()
        server.shutdown()
        thread.join()
        server.server_close()
        resources.pool.close()
