"""Webhooks at a fixed rate: the time until the row and until the change at Front, and memory over time."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import psycopg

from bench.flow.fixture import changed_at, send_steadily, sent_at, share_of
from bench.harness.timing import percentiles_ms
from bench.harness.usage import OUR_KINDS, CpuByKind, memory_mb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.flow.fixture import Fixture
    from bench.harness.platform import Platform

SETTLES_WITHIN = 600.0
#: A change later than this after the last webhook had waited in a queue.
QUEUED_SECONDS = 1.0
#: The resolution of the time at which a row is seen.
ROW_POLL_SECONDS = 0.005
MEMORY_POLL_SECONDS = 2.0


@dataclass(frozen=True, kw_only=True)
class VisibleRow:
    """The conversation of an event, and when its row was seen, in wall-clock time as in the sandbox."""

    conversation: str
    at: float


class RowWatcher:
    """Polls for new events from its own connection, as a context manager; `rows` by Front's id.

    `recorded_at` would not do: it is when the transaction began.
    """

    def __init__(self, database_url: str) -> None:
        self.rows: dict[str, VisibleRow] = {}
        self._url = database_url
        self._last = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="row-watcher", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as conn:
            while not self._stop.wait(ROW_POLL_SECONDS):
                self._poll(conn)

    def _poll(self, conn: psycopg.Connection) -> None:
        query = "SELECT id, front_id, conversation_id FROM events WHERE id > %s ORDER BY id"
        found = conn.execute(query, (self._last,)).fetchall()
        at = time.time()
        for self._last, event, conversation in found:
            self.rows[event] = VisibleRow(conversation=conversation, at=at)


class MemoryOverTime:
    """Samples the memory of each kind of process, as a context manager."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._seconds: list[float] = []
        self._samples: dict[str, list[float]] = {kind: [] for kind in OUR_KINDS}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def figures(self) -> dict[str, Any]:
        """Return MB by kind, all its processes together, at each of `seconds` since the start."""
        return {"seconds": self._seconds, **self._samples}

    def _watch(self) -> None:
        began = time.monotonic()
        while not self._stop.wait(MEMORY_POLL_SECONDS):
            self._seconds.append(round(time.monotonic() - began, 1))
            for kind, samples in self._samples.items():
                samples.append(round(memory_mb(self._platform.pids(kind)), 1))


@dataclass(frozen=True, kw_only=True)
class Durations:
    """Seconds from the first try of a webhook, and when its change was made, in wall-clock time."""

    to_row: float
    to_action: float
    changed_at: float


def steady(on: Fixture, per_second: int, seconds: float) -> dict[str, Any]:
    """Send for this long, then wait until all work is done."""
    count = len(on.companies) * share_of(on.companies, per_second, seconds)
    began, costs = time.time(), CpuByKind(on.servers, on.mailroom.platform)
    with RowWatcher(on.mailroom.database_url) as watcher:
        send_steadily(on.mailroom.front, on.companies, per_second, seconds)
        time.sleep(max(0.0, began + seconds - time.time()))
        load = os.getloadavg()[0]
        on.settle(SETTLES_WITHIN)
        used = costs.each_1000(count)
    sent = sent_at(on.mailroom.front, began)
    durations = _durations(on, sent, watcher.rows, began)
    return {
        "events": count,
        **percentiles_ms("sent_late", lateness(sorted(sent.values()), per_second)),
        **percentiles_ms("rows", [each.to_row for each in durations]),
        **percentiles_ms("action", [each.to_action for each in durations]),
        "last_action_after_last_webhook_seconds": round(
            max(each.changed_at for each in durations) - max(sent.values()), 2
        ),
        "cpu_seconds_per_1000": used,
        "load_average": round(load, 2),
    }


def is_steady(figures: dict[str, Any]) -> bool:
    """Tell whether no queue had grown when the last webhook came."""
    return float(figures["last_action_after_last_webhook_seconds"]) <= QUEUED_SECONDS


def _durations(on: Fixture, sent: dict[str, float], rows: dict[str, VisibleRow], since: float) -> list[Durations]:
    changed = changed_at(on.mailroom.front, since)
    found = ((at, rows[event]) for event, at in sent.items())
    return [
        Durations(to_row=row.at - at, to_action=changed[row.conversation] - at, changed_at=changed[row.conversation])
        for at, row in found
    ]


def lateness(sent: Sequence[float], per_second: int) -> list[float]:
    """Return how much later than planned each webhook was sent: the error of the sender itself."""
    return [max(0.0, at - sent[0] - place / per_second) for place, at in enumerate(sent)]
