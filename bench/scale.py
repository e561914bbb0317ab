"""The scale of one machine: periodic work must not grow with the work that waits."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

import psutil
import psycopg

from bench.harness.benchmark import Benchmark, report, timed
from bench.harness.platform import base_environment
from bench.harness.servers import both_servers
from bench.record.full_intake import full_intake
from shared.db.tasks import dispatching, rescue

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bench.harness.benchmark import Figures
    from bench.harness.servers import Servers
    from shared.db.core.pool import Connection

NOTE = (
    "Bodies are random bytes; those that are recorded are webhooks with random text, `deep` with all others behind them"
    " and `shallow` alone. Rounds are rolled back, so that all are alike. Memory of the import is the command's own."
)
TIMES = 21
ADDRESSES_OF_A_USER = 2
SAMPLE_SECONDS = 0.2
TENANT = "Scale"


@dataclass(frozen=True, kw_only=True)
class Size:
    """The amounts; `tasks` has steps, which show growth. `drained` webhooks are recorded twice."""

    tasks: tuple[int, ...]
    tenants: int
    deliveries: int
    drained: int
    users: int


QUICK = Size(tasks=(20_000, 200_000), tenants=1_000, deliveries=50_000, drained=3_000, users=50_000)
FULL = Size(tasks=(10_000, 100_000, 1_000_000), tenants=1_000, deliveries=1_000_000, drained=20_000, users=1_000_000)


def scale(*, quick: bool) -> Figures:
    """Measure each part on empty servers."""
    size = QUICK if quick else FULL
    took: dict[str, float] = {}
    with both_servers() as (servers, folder):
        with timed(took, "intake"):
            intake = _reported(
                "intake", full_intake(servers, folder, deliveries=size.deliveries, drained_ones=size.drained)
            )
        with timed(took, "rounds"):
            rounds = [
                _reported("round", dispatch_round(servers, tenants=size.tenants, tasks=tasks)) for tasks in size.tasks
            ]
        with timed(took, "looks"):
            looks = [
                _reported("look", search_stranded_actions(servers, tenants=size.tenants, tasks=tasks))
                for tasks in size.tasks
            ]
        with timed(took, "import"):
            users = _reported("import", import_users(servers, folder, size.users))
    return {
        "redis_to_body_bytes_ratio": intake["redis_to_body_bytes_ratio"],
        "deep_drained_per_second": intake["deep_drained_per_second"],
        "shallow_drained_per_second": intake["shallow_drained_per_second"],
        "deep_to_shallow_cpu_ratio": intake["deep_to_shallow_cpu_ratio"],
        "dispatch_round_best_ms": rounds[-1]["best_ms"],
        "dispatch_round_median_ms": rounds[-1]["median_ms"],
        "stranded_look_median_ms": looks[-1]["median_ms"],
        "imported_users_per_second": users["users_per_second"],
        "import_memory_mb": users["memory_mb"],
        "intake": intake,
        "dispatch_rounds": rounds,
        "stranded_looks": looks,
        "import": users,
        "took_seconds": took,
        "note": NOTE,
        "broken": [f"intake: {intake['unrecorded']} webhooks without a row"] if intake["unrecorded"] else [],
    }


def _reported(what: str, figures: dict[str, Any]) -> dict[str, Any]:
    report(f"{what}: {figures}")
    return figures


def dispatch_round(servers: Servers, *, tenants: int, tasks: int) -> dict[str, Any]:
    """Time a dispatch round over all tenants."""
    with servers.fresh() as (url, _), psycopg.connect(url) as conn:
        _seed(conn, tenants=tenants, tasks=tasks)
        picked = len(dispatching.queue_round(conn, waiting=0))
        conn.rollback()
        assert picked, "nothing was dispatched: this measures nothing"
        return {"due": tasks, "tenants": tenants, **_timed(conn, lambda: dispatching.queue_round(conn, waiting=0))}


def search_stranded_actions(servers: Servers, *, tenants: int, tasks: int) -> dict[str, Any]:
    """Time a search for actions that wait for nothing, where there is none."""
    with servers.fresh() as (url, _), psycopg.connect(url) as conn:
        _seed(conn, tenants=tenants, tasks=tasks, waiting=True)
        found = rescue.stranded_conversations(conn)
        assert found.until, "the search reached its end: too few tasks wait"
        assert not found.conversations, "nothing is stranded"
        return {"waiting": tasks, **_timed(conn, lambda: rescue.stranded_conversations(conn))}


def _timed(conn: Connection, do: Callable[[], object]) -> dict[str, float]:
    """Do it several times; each is rolled back, so that all find the same rows."""
    took = []
    for _ in range(TIMES):
        began = time.perf_counter()
        do()
        took.append((time.perf_counter() - began) * 1000)
        conn.rollback()
    return {
        "best_ms": round(min(took), 1),
        "median_ms": round(median(took), 1),
        "load_average": round(os.getloadavg()[0], 2),
    }


def _seed(conn: psycopg.Connection, *, tenants: int, tasks: int, waiting: bool = False) -> None:
    """Insert rows of recorded events with an action each, due now; or `waiting` for a file of their own."""
    conn.execute(
        "INSERT INTO tenants (name, company_id, connected_at)"
        " SELECT 'tenant ' || n, 'cmp_scale' || n, now() FROM generate_series(1, %s) n",
        (tenants,),
    )
    conn.execute(
        """
        INSERT INTO events (company_id, front_id, tenant_id, type, conversation_id, emitted_at, received_at, state)
        SELECT company_id, 'evt_' || t.id || 'x' || n, t.id, 'inbound_received', 'cnv_' || t.id || 'x' || n,
               now(), now(), 'processing'
        FROM tenants t, generate_series(1, %s) n
        """,
        (tasks // tenants,),
    )
    conn.execute(
        """
        INSERT INTO actions (event_id, tenant_id, conversation_id, kind, wait_for, state, reason, emitted_at)
        SELECT id, tenant_id, conversation_id, 'archive', 'stored', 'planned', 'scale', emitted_at FROM events
        """
    )
    conn.execute(
        "INSERT INTO tasks (tenant_id, event_id, kind, state, due_at)"
        " SELECT tenant_id, id, 'apply_action', 'ready', CASE WHEN %s THEN 'infinity' ELSE now() END FROM events",
        (waiting,),
    )
    if waiting:
        conn.execute(
            "INSERT INTO attachments (tenant_id, event_id, conversation_id, front_id, filename, content_type)"
            " SELECT tenant_id, id, conversation_id, 'fil_' || id, 'page.pdf', 'application/pdf' FROM events"
        )
    conn.commit()
    conn.autocommit = True
    conn.execute("VACUUM ANALYZE")  # autovacuum would have done it while so many came
    conn.autocommit = False


def import_users(servers: Servers, folder: Path, users: int) -> dict[str, Any]:
    """Run `mailroom user import` with two addresses a user, into an empty tenant."""
    file = folder / "users.csv"
    _write_list(file, users)
    with servers.fresh() as (database_url, redis_url):
        with psycopg.connect(database_url) as conn:
            conn.execute("INSERT INTO tenants (name, company_id) VALUES (%s, 'cmp_scale')", (TENANT,))
        environment = {**base_environment(), "DATABASE_URL": database_url, "REDIS_URL": redis_url}
        environment["MAILROOM_DATA"] = str(folder / "data")
        began = time.monotonic()
        most = _most_memory(["user", "import", str(file), "--tenant", TENANT], environment)
        took = time.monotonic() - began
        with psycopg.connect(database_url) as conn:
            found = conn.execute(
                "SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM user_addresses)"
            ).fetchone()
        assert found == (users, users * ADDRESSES_OF_A_USER), found
    return {
        "users": users,
        "addresses": users * ADDRESSES_OF_A_USER,
        "seconds": round(took, 1),
        "users_per_second": round(users / took, 1),
        "memory_mb": round(most / 2**20, 1),
        "load_average": round(os.getloadavg()[0], 2),
    }


def _write_list(file: Path, users: int) -> None:
    with file.open("w", encoding="utf-8") as lines:
        lines.write("external_id,name,email,email\n")
        for number in range(users):
            lines.write(f"{number},User {number},user{number}@scale.example,u.{number}@scale.example\n")


def _most_memory(arguments: list[str], environment: dict[str, str]) -> int:
    """Run the command; return the most memory that it was seen to use, in bytes."""
    command = subprocess.Popen(
        [sys.executable, "-m", "console", *arguments], env=environment, stdout=sys.stderr, stderr=sys.stderr
    )
    process, most = psutil.Process(command.pid), 0
    while command.poll() is None:
        try:
            most = max(most, process.memory_info().rss)
        except psutil.NoSuchProcess:
            break
        time.sleep(SAMPLE_SECONDS)
    assert command.wait() == 0, "the import failed"
    return most


SCALE = Benchmark(
    name="scale", measures="a full intake, very many tasks of very many tenants, a long list of users", run=scale
)
