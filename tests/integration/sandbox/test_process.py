"""The sandbox as a process: it says where it listens, and TERM ends it cleanly."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

if TYPE_CHECKING:
    from tests.integration.sandbox.conftest import Client

ROOT = Path(__file__).parents[3]


def test_a_process_says_where_it_listens_and_ends_on_term(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sandbox", "serve", "--port", "0", "--door", "http://127.0.0.1:9/"]
    command += ["--signing-key", "K", "--data", str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        line = process.stdout.readline()
        found = re.search(r"listening on (http://127\.0\.0\.1:\d+)", line)
        assert found, line
        assert requests.get(f"{found[1]}/sandbox/verdict", timeout=5).json()["sent"] == 0
        process.terminate()
        assert process.wait(timeout=10) == 0


def test_a_stopped_sandbox_answers_no_more_on_connections_it_kept(client: Client) -> None:
    assert client.call("GET", "/me").status_code == 200
    client.running.server.stopping.set()
    with pytest.raises(requests.ConnectionError):
        client.session.post(f"{client.running.url}/sandbox/reset")
