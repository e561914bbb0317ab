"""Counts what this process records and what its attempts come to, and adds it to the figures of the minute.

An attempt writes nothing for it: one row that all attempts update would have them wait for each other. The recorder
writes the figures of all tenants together with each chunk, and leaves those of each tenant to this: a chunk may be of a
thousand tenants. A process that is killed loses the counts of its last seconds.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from http import HTTPStatus

import structlog

from shared.db import figures
from shared.db.core.pool import Connection, Pool
from shared.db.figures import Tally
from shared.errors import StoreUnavailable
from shared.models import Call

log = structlog.get_logger()


class UnwrittenFigures:
    """The counts that are not written yet. Threads may share it; the heartbeat writes it, and so does the end."""

    def __init__(self, pool: Pool):
        self._pool = pool
        self._attempts = Tally()
        self._recorded = Tally()
        self._lock = threading.Lock()

    def note_attempt(self, tenant_id: int | None, kind: str | None, calls: Sequence[Call]) -> None:
        """Count an attempt as this kind, None for nothing, and its calls to Front."""
        now = datetime.now(UTC)
        refused = sum(call.status == HTTPStatus.TOO_MANY_REQUESTS for call in calls)
        counts = {"calls": len(calls), "calls_refused": refused, **({kind: 1} if kind else {})}
        with self._lock:
            for name, count in counts.items():
                if count:
                    self._attempts.add(name, now, {tenant_id: count})

    def note_recorded(self, tally: Tally) -> None:
        """Count what a chunk recorded for each tenant; that of all together is written already."""
        with self._lock:
            self._recorded.merge(tally)

    def write(self) -> None:
        """Write the counts; while PostgreSQL is away they are kept for the next time."""
        with self._lock:
            attempts, recorded = self._attempts, self._recorded
            self._attempts, self._recorded = Tally(), Tally()

        def add(conn: Connection) -> None:
            figures.add(conn, recorded, "tenants")
            figures.add(conn, attempts)

        try:
            if attempts or recorded:
                self._pool.run(add)
        except StoreUnavailable as exc:
            log.warning("figures_wait", reason=str(exc))
            with self._lock:
                self._attempts.merge(attempts)
                self._recorded.merge(recorded)
