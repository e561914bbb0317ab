"""The console process starts, registers itself, stops on TERM, and names missing settings."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import psutil
import requests

from tests.integration.console.console_process import ENDS_WITHIN, running_console, spawn

if TYPE_CHECKING:
    from pathlib import Path

    import psycopg

    from tests.integration.console.conftest import Mailroom

TIMEOUT = 60.0


def test_it_is_counted_while_it_runs_and_ends_cleanly_when_told(
    web_environment: dict[str, str], tmp_path: Path, conn: psycopg.Connection
) -> None:
    kinds = "SELECT kind FROM processes"
    with running_console(tmp_path / "log", web_environment) as console:
        deadline = time.monotonic() + TIMEOUT
        while not conn.execute(kinds).fetchall() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert conn.execute(kinds).fetchall() == [("console",)]
        assert (
            requests.get(f"{console.url}/static/mailroom.css", timeout=10)
            .headers["Content-Type"]
            .startswith("text/css")
        )
    assert console.process.returncode == 0
    assert conn.execute(kinds).fetchall() == []
    assert "Traceback" not in console.printed()


def test_it_leaves_no_process_when_it_is_killed(web_environment: dict[str, str], tmp_path: Path) -> None:
    with running_console(tmp_path / "log", web_environment) as console:
        children = psutil.Process(console.process.pid).children(recursive=True)
        console.process.kill()
        _, alive = psutil.wait_procs(children, timeout=ENDS_WITHIN)
    assert (bool(children), alive) == (True, [])


def test_everything_that_is_missing_is_told_at_once(tmp_path: Path) -> None:
    process = spawn(tmp_path / "log", {"MAILROOM_DATA": str(tmp_path)})
    assert process.wait(TIMEOUT) == 78
    assert "DATABASE_URL, REDIS_URL, TOKEN_KEYS, SECRET_KEY not set" in (tmp_path / "log").read_text()


def test_in_production_people_come_by_https(web_environment: dict[str, str], tmp_path: Path) -> None:
    production = {"MAILROOM_ENV": "production", "STORAGE_URL": f"file://{tmp_path}", "PUBLIC_URL": "http://m.example"}
    secrets = {"FRONT_SIGNING_KEYS": "k" * 32, "SECRET_KEY": "s" * 32}
    front = {"FRONT_API_URL": "https://api.example", "FRONT_APP_URL": "https://app.example"}
    process = spawn(tmp_path / "log", {**web_environment, **production, **secrets, **front})
    assert process.wait(TIMEOUT) == 78
    assert "PUBLIC_URL: must be https" in (tmp_path / "log").read_text()


def test_a_reader_that_waits_for_the_feed_is_answered_when_the_console_stops(
    web_environment: dict[str, str], mailroom: Mailroom, tmp_path: Path, conn: psycopg.Connection
) -> None:
    token = mailroom("api-token", "create", "host", "--scope", "messages").stdout.strip()
    conn.execute("INSERT INTO outbox (type) VALUES ('ping')")
    with running_console(tmp_path / "log", web_environment) as console, ThreadPoolExecutor(1) as thread:
        url = f"{console.url}/api/v1/messages?wait=30&type=tenant.paused"
        reading = thread.submit(requests.get, url, headers={"Authorization": f"Bearer {token}"}, timeout=TIMEOUT)
        deadline = time.monotonic() + TIMEOUT
        while conn.execute("SELECT FROM outbox").rowcount:  # the reader numbers it, and then waits
            assert time.monotonic() < deadline
            time.sleep(0.05)
        console.process.terminate()
        answer = reading.result(TIMEOUT)
    assert (answer.status_code, answer.json()["messages"]) == (200, [])
    assert console.process.returncode == 0
