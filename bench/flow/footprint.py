"""Counts the rows, index entries, statements, transactions, commands, messages and syncs of one event."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg

from bench.flow.fixture import TENANTS, fixture, send_steadily, share_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from bench.flow.fixture import Fixture
    from bench.harness.servers import Servers

#: The figures, in the order of the printed table.
COUNTED = (
    "rows",
    "index_entries",
    "statements",
    "transactions",
    "redis_commands",
    "celery_messages",
    "syncs_of_postgresql",
)
PER_SECOND = (20, 50)
SECONDS = 6.0
WARM_UP = (20, 3.0)
SETTLES_WITHIN = 120.0
_EXTENSIONS = "CREATE EXTENSION pg_stat_statements; CREATE EXTENSION pg_walinspect"
# Each entry of an index is a record of its own in the write-ahead log.
_INDEX_ENTRIES = """
SELECT coalesce(sum(count), 0)::bigint FROM pg_get_wal_stats(%s, pg_current_wal_flush_lsn(), true)
WHERE "resource_manager/record_type" LIKE 'Btree/INSERT_LEAF%%'
"""
_COUNTS = """
SELECT (SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_user_tables)::bigint AS rows,
       (SELECT sum(calls) FROM pg_stat_statements WHERE toplevel AND dbid = own.oid)::bigint AS statements,
       xact_commit + xact_rollback AS transactions, pg_current_wal_flush_lsn()::text AS position
FROM pg_database own JOIN pg_stat_database s ON s.datid = own.oid WHERE own.datname = current_database()
"""


def footprint(servers: Servers, folder: Path) -> dict[str, dict[str, float]]:
    """Return the counts for one event by webhooks a second. What runs once a second counts, too."""
    with (
        _counting(servers),
        fixture(servers, folder, "footprint", companies=TENANTS) as on,
        psycopg.connect(on.mailroom.database_url, autocommit=True) as conn,
    ):
        conn.execute(_EXTENSIONS)
        send_steadily(on.mailroom.front, on.companies, *WARM_UP)
        on.settle(SETTLES_WITHIN)
        return {str(rate): _counts_of(on, conn, rate) for rate in PER_SECOND}


def footprint_table(counts: Mapping[str, Mapping[str, float]]) -> str:
    """Return the counts as lines for the terminal, one for each figure."""
    width = max(map(len, COUNTED)) + 2
    head = "an event".ljust(width) + "".join(f"{rate}/s".rjust(8) for rate in counts)
    lines = [name.ljust(width) + "".join(f"{each[name]:8.2f}" for each in counts.values()) for name in COUNTED]
    return "\n".join([head, *lines])


def _counts_of(on: Fixture, conn: psycopg.Connection, per_second: int) -> dict[str, float]:
    before, position = _now(on, conn)
    send_steadily(on.mailroom.front, on.companies, per_second, SECONDS)
    on.settle(SETTLES_WITHIN)
    after, _ = _now(on, conn)
    after["index_entries"] = conn.execute(_INDEX_ENTRIES, (position,)).fetchone()[0]  # type: ignore[index]
    events = len(on.companies) * share_of(on.companies, per_second, SECONDS)
    return {name: round((after[name] - before[name]) / events, 2) for name in COUNTED}


def _now(on: Fixture, conn: psycopg.Connection) -> tuple[Counter[str], str]:
    """Return the counts so far, and the place in the write-ahead log."""
    conn.execute("SELECT pg_stat_force_next_flush()")
    row: Any = conn.execute(_COUNTS).fetchone()
    counts = Counter(dict(zip(("rows", "statements", "transactions"), row, strict=False)))
    counts["syncs_of_postgresql"] = _syncs(conn)
    with on.mailroom.redis() as client:
        commands: Any = client.info("commandstats")
    counts["redis_commands"] = sum(each["calls"] for each in commands.values())
    counts["celery_messages"] = commands.get("cmdstat_brpop", {"calls": 0})["calls"]
    return counts, row[-1]


def _syncs(conn: psycopg.Connection) -> int:
    is_new = conn.info.server_version >= 180_000
    query = "SELECT sum(fsyncs) FROM pg_stat_io WHERE object = 'wal'" if is_new else "SELECT wal_sync FROM pg_stat_wal"
    row: Any = conn.execute(query).fetchone()
    return int(row[0] or 0)


@contextmanager
def _counting(servers: Servers) -> Iterator[None]:
    """Run PostgreSQL with its counter of statements, and without it afterwards."""
    _restart_with(servers, "ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'")
    try:
        yield
    finally:
        _restart_with(servers, "ALTER SYSTEM RESET shared_preload_libraries")


def _restart_with(servers: Servers, command: str) -> None:
    with psycopg.connect(servers.postgres.url_of("postgres"), autocommit=True) as conn:
        conn.execute(command.encode())
    servers.postgres.stop()
    servers.postgres.start()
