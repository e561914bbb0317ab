"""Counts what the attempts of this process come to, and adds it to the figures of the minute now and then.

An attempt writes nothing for it: one row that all attempts update would have them wait for each other. A worker that is
killed loses the counts of its last seconds.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus

import structlog

from shared.db import figures
from shared.db.core.pool import Pool
from shared.db.figures import Tally
from shared.errors import StoreUnavailable
from shared.models import Call

log = structlog.get_logger()


class AttemptFigures:
    """The counts that are not written yet. Threads may share it; the heartbeat writes it, and so does the end."""

    def __init__(self, pool: Pool):
        self._pool = pool
        self._tally = Tally()
        self._lock = threading.Lock()

    def note(self, tenant_id: int, kind: str | None, calls: Sequence[Call]) -> None:
        """Count an attempt as this kind, None for nothing, and its calls to Front."""
        now = datetime.now(UTC)
        refused = sum(call.status == HTTPStatus.TOO_MANY_REQUESTS for call in calls)
        counts = {"calls": len(calls), "calls_refused": refused, **({kind: 1} if kind else {})}
        with self._lock:
            for name, count in counts.items():
                if count:
                    self._tally.add(name, now, {tenant_id: count})

    def write(self) -> None:
        """Write the counts; while PostgreSQL is away they are kept for the next time."""
        with self._lock:
            tally, self._tally = self._tally, Tally()
        if not tally:
            return
        try:
            self._pool.run(partial(figures.add, tally=tally, may_be_erased=True))
        except StoreUnavailable as exc:
            log.warning("figures_wait", reason=str(exc))
            with self._lock:
                self._tally.merge(tally)
