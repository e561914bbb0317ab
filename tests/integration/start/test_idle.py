"""A deployment without work asks its stores little: some charge for each command."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING

import psycopg
import pytest
import redis

from bench.harness.mailroom import Mailroom, add_backlog
from bench.harness.platform import procfile_commands
from bench.harness.ports import free_port
from bench.harness.processes import expect

if TYPE_CHECKING:
    from pathlib import Path

    from console.up.embedded import Valkey

#: Measured on an idle machine: 2.5 commands and 3.1 transactions a second.
MOST_COMMANDS, MOST_TRANSACTIONS = 6.0, 5.0
SECONDS = 20.0
COUNTED_WITHIN = 2.0  # a session of PostgreSQL reports its transactions once a second
KINDS = {"recorder", "worker", "sweeper", "console"}


def commands(client: redis.Redis) -> int:
    return int(client.info("stats")["total_commands_processed"])


def transactions(conn: psycopg.Connection) -> int:
    time.sleep(COUNTED_WITHIN)
    query = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"
    [(count,)] = conn.execute(query).fetchall()
    return int(count)


def leave_what_waits_for_people(mailroom: Mailroom, conn: psycopg.Connection) -> None:
    """Add a parked tenant's due tasks, a tenant's retry in an hour, and a process that was lost a while ago."""
    for company in ("cmp_parked", "cmp_later"):
        mailroom.tenant(company, f"nora@{company}.example")
    conn.execute("UPDATE tenants SET parked_cause = 'paused' WHERE company_id = 'cmp_parked'")
    conn.execute("UPDATE tenants SET not_before = now() + interval '1 hour' WHERE company_id = 'cmp_later'")
    add_backlog(mailroom, ["cmp_parked", "cmp_later"], 3)
    conn.execute(
        "INSERT INTO processes (name, kind, slots, seen_at) VALUES ('lost', 'worker', 4, now() - interval '5 minutes')"
    )


@pytest.mark.timeout(240)
def test_an_idle_deployment_asks_its_stores_little(database: str, own_valkey: Valkey, tmp_path: Path) -> None:
    settings = {"SECRET_KEY": "s", "CONSOLE_PORT": str(free_port())}
    with (
        Mailroom((database, own_valkey.url), tmp_path, counts={}, front=(), settings=settings) as mailroom,
        psycopg.connect(database, autocommit=True) as conn,
        closing(redis.Redis.from_url(own_valkey.url)) as client,
    ):
        mailroom.platform.run("console", procfile_commands()["console"])
        running = "SELECT kind FROM processes WHERE seen_at > now() - interval '10 seconds'"
        expect(lambda: {kind for (kind,) in conn.execute(running)} == KINDS, 60.0, "every process sends heartbeats")
        leave_what_waits_for_people(mailroom, conn)
        time.sleep(COUNTED_WITHIN)
        began, commands_before, transactions_before = time.monotonic(), commands(client), transactions(conn)
        time.sleep(SECONDS)
        per_second = time.monotonic() - began
        commands_each = (commands(client) - commands_before) / per_second
        transactions_each = (transactions(conn) - transactions_before) / (per_second + COUNTED_WITHIN)
        [(ready,)] = conn.execute("SELECT count(*) FROM tasks WHERE state = 'ready'").fetchall()
    assert ready == 6
    assert 0 < commands_each < MOST_COMMANDS
    assert 0 < transactions_each < MOST_TRANSACTIONS
