"""What the sweeper does again and again, while very much waits."""

from __future__ import annotations

import os
import time
from statistics import median
from typing import TYPE_CHECKING, Any

import psycopg

from bench.scale.seeding import seed
from shared.db.tasks import dispatching, rescue

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.harness.servers import Servers
    from shared.db.core.pool import Connection

TIMES = 21


def dispatch_round(servers: Servers, *, tenants: int, tasks: int) -> dict[str, Any]:
    """One round over all tenants; each is taken back, so that all find the same."""
    with servers.fresh() as (url, _), psycopg.connect(url) as conn:
        seed(conn, tenants=tenants, tasks=tasks)
        picked = len(dispatching.queue_round(conn, waiting=0))
        conn.rollback()
        assert picked, "nothing was dispatched: this shows nothing"
        return {"due": tasks, "tenants": tenants, **_timed(conn, lambda: dispatching.queue_round(conn, waiting=0))}


def stranded_look(servers: Servers, *, tenants: int, tasks: int) -> dict[str, Any]:
    """One look for actions that wait for nothing; none does."""
    with servers.fresh() as (url, _), psycopg.connect(url) as conn:
        seed(conn, tenants=tenants, tasks=tasks, waiting=True)
        found = rescue.stranded_conversations(conn)
        assert found.until, "the look came to its end: too little waits"
        assert not found.conversations, "nothing is stranded"
        return {"waiting": tasks, **_timed(conn, lambda: rescue.stranded_conversations(conn))}


def _timed(conn: Connection, do: Callable[[], object]) -> dict[str, float]:
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
