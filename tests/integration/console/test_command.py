"""The command as a process, and the sandbox that it starts and controls."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.integration.console.rows import insert_event, insert_task

if TYPE_CHECKING:
    import psycopg

    from sandbox.server import RunningSandbox
    from tests.integration.console.conftest import Mailroom

COMMAND = (sys.executable, "-m", "console")


@pytest.fixture
def process_environment(environment: dict[str, str | None]) -> dict[str, str]:
    given = {name: value for name, value in environment.items() if value is not None}
    return {name: value for name, value in os.environ.items() if name not in environment} | given


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def start(environment: dict[str, str], *arguments: str, stdin: int | None = None) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen([*COMMAND, *arguments], env=environment, stdin=stdin, stdout=pipe, stderr=pipe, text=True)


def test_help_answers_at_once_and_loads_nothing_heavy(process_environment: dict[str, str]) -> None:
    shown = run(process_environment | {"PYTHONPROFILEIMPORTTIME": "1"}, "--help")
    assert "Usage: mailroom" in shown.stdout
    loaded = {line.rsplit("|", 1)[-1].strip() for line in shown.stderr.splitlines()}
    assert not loaded & {"psycopg", "pydantic", "redis", "celery", "requests", "rich.table", "cryptography", "flask"}


def test_the_version_is_told(mailroom: Mailroom) -> None:
    assert mailroom("--version").stdout.startswith("mailroom")


def test_json_is_one_document_on_stdout(process_environment: dict[str, str]) -> None:
    shown = run(process_environment, "status", "--json")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert json.loads(shown.stdout)["intake"]["depth"] == 0


def test_a_closed_pipe_is_no_traceback(process_environment: dict[str, str]) -> None:
    with start(process_environment, "event", "list") as shown:
        assert shown.stdout
        assert shown.stderr
        shown.stdout.close()
        assert "Traceback" not in shown.stderr.read()


@pytest.mark.parametrize("arguments", [("nonsense",), ("tenant", "add"), ("event", "show")])
def test_wrong_usage_exits_2(mailroom: Mailroom, arguments: tuple[str, ...]) -> None:
    mailroom(*arguments, code=2)


def test_sending_without_a_sandbox_says_how_to_start_one(mailroom: Mailroom, environment: dict[str, str]) -> None:
    environment["SANDBOX_PORT"] = "9"
    result = mailroom("sandbox", "send", "inbound_received", "--company", "cmp_a", code=1)
    assert "mailroom sandbox serve" in result.stderr


def test_webhooks_that_the_door_refused_are_partly_failed(mailroom: Mailroom, front: RunningSandbox) -> None:
    front.front.ensure_company("cmp_acme", "Acme", "token")
    answer = mailroom.json("sandbox", "send", "inbound_received", "--count", 2, "--to", "nora@acme.example", code=4)
    assert [event["acknowledged"] for event in answer["events"]] == [False, False]


def test_mail_is_for_the_oldest_company_unless_another_is_named(mailroom: Mailroom, front: RunningSandbox) -> None:
    for company in ("cmp_zebra", "cmp_acme"):
        front.front.ensure_company(company, company, None)
    mailroom("sandbox", "send", "inbound_received", code=4)
    assert list(front.front.world.event_positions) == ["cmp_zebra"]


def test_a_wrong_order_is_a_usage_error(mailroom: Mailroom, front: RunningSandbox) -> None:
    assert "none yet" in mailroom("sandbox", "send", "inbound_received", code=2).stderr
    front.front.ensure_company("cmp_acme", "Acme", "token")
    assert "no such type" in mailroom("sandbox", "send", "nonsense", code=2).stderr
    assert "no such fault" in mailroom("sandbox", "send", "inbound_received", "--fault", "x", code=2).stderr


def test_serve_runs_the_sandbox_with_our_settings_until_term(process_environment: dict[str, str]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    environment = process_environment | {"SANDBOX_PORT": port, "PORT": "9"}
    with start(environment, "sandbox", "serve", "--tries", "1") as serving:
        assert serving.stdout
        line = serving.stdout.readline()
        assert f"listening on http://127.0.0.1:{port}, sending to http://127.0.0.1:9/webhooks/front" in line
        serving.send_signal(signal.SIGTERM)
        assert serving.wait(timeout=10) == 0


@pytest.mark.parametrize(("answer", "code", "state"), [(b"y\n", 0, "ready"), (b"n\n", 1, "failed")])
def test_a_person_at_a_terminal_is_asked(
    mailroom: Mailroom,
    acme: str,
    conn: psycopg.Connection,
    process_environment: dict[str, str],
    answer: bytes,
    code: int,
    state: str,
) -> None:
    insert_task(conn, insert_event(conn, state="failed"))
    keyboard, terminal = pty.openpty()
    with start(process_environment, "task", "retry", "--state", "failed", stdin=terminal) as asking:
        os.write(keyboard, answer)
        assert "retry 1 task?" in asking.communicate(timeout=30)[1]
    os.close(keyboard)
    os.close(terminal)
    assert (asking.returncode, mailroom.json("task", "list")[0]["state"]) == (code, state)
