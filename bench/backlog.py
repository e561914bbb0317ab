"""What is seen while a backlog is worked off, by looks that cost the same however much is left."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg

from bench.door.usage import memory_mb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.harness.mailroom import Mailroom

EVERY_SECONDS = 2.0
KINDS = ("recorder", "worker", "sweeper")
#: One row each of indexes that have only such tasks: to count, or to read the table, costs more the more there are.
OPEN = """
SELECT EXISTS (SELECT FROM spooled_deliveries)
    OR EXISTS (SELECT FROM tasks WHERE state IN ('queued', 'running'))
    OR EXISTS (SELECT FROM tasks WHERE state = 'ready' AND kind <> 'store_attachment')
    OR EXISTS (SELECT FROM tasks WHERE state = 'ready' AND kind = 'store_attachment')
"""


@dataclass(frozen=True, kw_only=True)
class Look:
    """At a moment of the wall clock. `memory`: MB by kind of process; `took`: what it took to see what is left."""

    at: float
    took: float
    memory: dict[str, float]
    load_average: float
    is_open: bool


def looks_until_done(mailroom: Mailroom, deadline: float) -> list[Look]:
    """One after the other; the last sees that nothing is left to do, or is of the deadline."""
    with _patient(mailroom) as conn:
        looks = [_look(mailroom, conn)]
        while looks[-1].is_open and looks[-1].at < deadline:
            time.sleep(EVERY_SECONDS)
            looks.append(_look(mailroom, conn))
    return looks


@contextmanager
def _patient(mailroom: Mailroom) -> Iterator[psycopg.Connection]:
    """A connection that reads no table from its beginning where there is an index."""
    with psycopg.connect(mailroom.database_url, autocommit=True, options="-c enable_seqscan=off") as conn:
        yield conn


def _look(mailroom: Mailroom, conn: psycopg.Connection) -> Look:
    at, began = time.time(), time.perf_counter()
    is_open = _is_open(mailroom, conn)
    took = time.perf_counter() - began
    memory = {kind: memory_mb(mailroom.platform.pids(kind)) for kind in KINDS}
    return Look(at=at, took=took, memory=memory, load_average=os.getloadavg()[0], is_open=is_open)


def _is_open(mailroom: Mailroom, conn: psycopg.Connection) -> bool:
    """The inbox first: what leaves it is a row by then."""
    if mailroom.inbox_depth():
        return True
    row = conn.execute(OPEN).fetchone()
    return bool(row and row[0])
