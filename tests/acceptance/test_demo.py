"""The demo: `mailroom up --demo` shows its mail in a host application, and ends with Ctrl-C.

Meanwhile the commands of the quickstart are typed."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from bench.harness.ports import free_ports
from bench.harness.processes import expect
from tests.acceptance.stack import ROOT, STARTS_WITHIN, Stack
from tests.documents import marked

if TYPE_CHECKING:
    from collections.abc import Iterator

INES = "u-100"
QUICKSTART = marked("docs/quickstart.md")


class Demo(Stack):
    """A demo in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.host_port = free_ports(1)[0]
        super().__init__(folder, settings={"DEMO_HOST_PORT": str(self.host_port)})

    def start(self) -> None:
        """Start it, and return when the first message with a file is shown to its user."""
        self._up = self._spawn(self.log, "up", "--demo")
        expect(self._shows_a_file, STARTS_WITHIN, f"the host application shows a file\n{self.log}")
        self.note()

    def page(self, user: str) -> str:
        """Return the page of the host application for a user."""
        return requests.get(f"http://127.0.0.1:{self.host_port}/users/{user}", timeout=10).text

    def types(self, text: str) -> None:
        """Type lines into a shell in the folder of the source, where `./run` is. Each has to succeed."""
        ended = subprocess.run(
            ["/bin/sh", "-euc", text], cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr

    def stop(self) -> None:
        """End it as Ctrl-C does; no process may be left."""
        self.note()
        self.up.send_signal(signal.SIGINT)
        code, left = self.stopped(), self.tree.left_after(10)
        assert (code, left) == (0, []), self.tail()

    def _shows_a_file(self) -> bool:
        assert self.up.poll() is None, self.tail()
        try:
            return "/files/" in self.page(INES)
        except requests.ConnectionError:
            return False


@pytest.fixture
def demo() -> Iterator[Demo]:
    """A demo that is not started."""
    folder = Path(tempfile.mkdtemp(prefix="mailroom-demo-"))
    folder.chmod(0o711)  # PostgreSQL runs as another account when we are root
    demo = Demo(folder)
    try:
        yield demo
    finally:
        demo.tree.kill()
        shutil.rmtree(folder)


@pytest.mark.timeout(400)
def test_the_demo_shows_mail_in_the_host_application_and_again_after_a_restart(demo: Demo) -> None:
    demo.start()
    shown = demo.page(INES).count("<article>")
    assert "Invoice 2026-118.pdf" in demo.page(INES)
    [endpoint] = demo.json("endpoint", "list")
    assert (endpoint["tenant"], endpoint["state"]) == ("Harbour Goods", "open")
    event = demo.json("event", "list")[0]
    for text in QUICKSTART.values():
        demo.types(text.replace("EVT", event["id"]))
    demo.stop()
    assert f"an application gets mail at  http://localhost:{demo.host_port}/" in demo.log.read_text(encoding="utf-8")
    assert "ENDPOINT_NETWORKS" not in demo.published()

    demo.start()
    expect(lambda: demo.page(INES).count("<article>") > shown, STARTS_WITHIN, "the host application gets more mail")
    assert len(demo.json("endpoint", "list")) == 1
    demo.stop()
