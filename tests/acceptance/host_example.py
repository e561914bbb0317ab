"""The host application of `examples/host` as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import requests

from bench.harness.ports import free_ports
from bench.harness.processes import expect
from tests.acceptance.stack import INHERITED, ROOT

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = ROOT / "examples" / "host" / "app.py"
STARTS_WITHIN = 60.0


class HostExample:
    """Runs `app.py` on a port of its own; its folder outlives a restart."""

    def __init__(self, folder: Path) -> None:
        self.url = f"http://127.0.0.1:{free_ports(1)[0]}"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, secret: str) -> None:
        """Start it with the secret of its endpoint, and return when it answers."""
        port = self.url.rpartition(":")[2]
        environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
        with (self._folder / "host.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(PROGRAM), "--port", port, "--folder", str(self._folder)],
                env=environment | {"WEBHOOK_SECRET": secret},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        expect(self._answers, STARTS_WITHIN, "the host application answers")

    def stop(self) -> None:
        """Kill it, if it runs."""
        if self._process:
            self._process.kill()
            self._process.wait()

    def page(self, user: str = "") -> str:
        """Return the page with the messages for a user, or for all."""
        answer = requests.get(f"{self.url}/users/{user}" if user else self.url, timeout=30)
        assert answer.ok, answer.text
        return answer.text

    def file(self, sha256: str) -> bytes | None:
        """Return the bytes of a file; None when the host does not have it."""
        answer = requests.get(f"{self.url}/files/{sha256}", timeout=30)
        return answer.content if answer.ok else None

    def _answers(self) -> bool:
        try:
            return requests.get(self.url, timeout=5).ok
        except requests.ConnectionError:
            return False
