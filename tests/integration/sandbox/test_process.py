"""The sandbox process prints its address, keeps its state on request, and ends cleanly on TERM."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from sandbox.server import start_in_thread
from sandbox.settings import SandboxSettings

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


@pytest.mark.parametrize(("remember", "status"), [(True, 200), (False, 401)])
def test_mail_and_tokens_survive_a_clean_stop_with_remember(tmp_path: Path, remember: bool, status: int) -> None:
    settings = SandboxSettings(
        door="http://127.0.0.1:9/", signing_key="K", port=0, tries=1, data=tmp_path, remember=remember
    )
    before = start_in_thread(settings)
    before.front.ensure_company("cmp_acme", "Acme", "token")
    request = {"type": "inbound_received", "company": "cmp_acme"}
    [event] = requests.post(f"{before.url}/sandbox/send", json=request, timeout=5).json()["events"]
    before.stop()
    after = start_in_thread(settings)
    path = f"{after.url}/conversations/{event['conversation_id']}"
    assert requests.get(path, headers={"Authorization": "Bearer token"}, timeout=5).status_code == status
    after.stop()


def test_a_file_of_another_release_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "world.pickle").write_bytes(b"csandbox.nowhere\nWorld\n.")
    settings = SandboxSettings(door="http://127.0.0.1:9/", signing_key="K", port=0, data=tmp_path, remember=True)
    running = start_in_thread(settings)
    assert running.front.world.companies == {}
    running.stop()


def test_a_stopped_sandbox_answers_no_more_on_connections_it_kept(client: Client) -> None:
    assert client.call("GET", "/me").status_code == 200
    client.running.server.stopping.set()
    with pytest.raises(requests.ConnectionError):
        client.session.post(f"{client.running.url}/sandbox/reset")
