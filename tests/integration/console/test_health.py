"""`mailroom health` says whether this host's process lives, for the health checks of containers."""

from __future__ import annotations

import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from shared.db.tasks.capacity import record_heartbeat

if TYPE_CHECKING:
    import psycopg

    from tests.integration.console.conftest import Mailroom

HOST = socket.gethostname()
KINDS = ["recorder", "worker", "sweeper", "console"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_process_that_beats_is_healthy(mailroom: Mailroom, conn: psycopg.Connection, kind: str) -> None:
    record_heartbeat(conn, f"{kind}@{HOST}:17", kind)
    assert mailroom("health", kind).stdout == f"the {kind} on {HOST} lives\n"


@pytest.mark.parametrize("kind", KINDS)
def test_a_process_that_never_came_is_not(mailroom: Mailroom, kind: str) -> None:
    assert "silent" in mailroom("health", kind, code=1).stdout


@pytest.mark.parametrize(("seconds", "code"), [(1, 0), (12, 0), (16, 1), (3600, 1)])
def test_a_silent_process_is_not_after_fifteen_seconds(
    mailroom: Mailroom, conn: psycopg.Connection, seconds: int, code: int
) -> None:
    record_heartbeat(conn, f"worker@{HOST}:17", "worker", 16)
    conn.execute("UPDATE processes SET seen_at = now() - make_interval(secs => %s)", [seconds])
    mailroom("health", "worker", code=code)


def test_a_restarted_process_is_healthy_beside_its_old_row(mailroom: Mailroom, conn: psycopg.Connection) -> None:
    record_heartbeat(conn, f"worker@{HOST}:17", "worker", 16)
    conn.execute("UPDATE processes SET seen_at = now() - interval '20 seconds'")
    record_heartbeat(conn, f"worker@{HOST}:18", "worker", 16)
    mailroom("health", "worker")


@pytest.mark.parametrize(
    ("name", "kind"),
    [(f"worker@{HOST}-2:17", "worker"), ("worker@%:17", "worker"), (f"recorder@{HOST}:17", "recorder")],
)
def test_another_hosts_or_kinds_process_does_not_count(
    mailroom: Mailroom, conn: psycopg.Connection, name: str, kind: str
) -> None:
    record_heartbeat(conn, name, kind)
    mailroom("health", "worker", code=1)


def test_a_database_that_is_away_is_told_in_one_line(mailroom: Mailroom) -> None:
    mailroom.environment["DATABASE_URL"] = "postgresql://mailroom@127.0.0.1:1/mailroom"
    [line] = mailroom("health", "worker", code=1).stderr.splitlines()
    assert "PostgreSQL does not answer" in line


def test_a_kind_without_a_heartbeat_is_refused(mailroom: Mailroom) -> None:
    mailroom("health", "web", code=2)


def test_it_loads_neither_pages_nor_front() -> None:
    script = "import sys, console.cli, shared.db.tasks.capacity; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert not {"flask", "requests", "obstore", "celery"} & set(loaded)
