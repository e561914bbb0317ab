"""The metrics of the whole installation, which consoles show: what happened, what waits and for how long, who works.

Other processes show their own metrics only. What happened comes from the figures by the minute, and open work from the
count that all consoles share; nothing here goes through events or tasks. Several consoles show the same values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import structlog
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from shared.db import figures
from shared.db.core.pool import limit_statements
from shared.db.counters import read_counter, read_counters
from shared.db.figures import OpenWork, Sums
from shared.db.reading import repairs, status
from shared.db.reading.status import ParkedWork, SmallCounts
from shared.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from console.web.lookups import IntakeState, Lookups
    from shared.db.core.pool import Connection, Pool

READ_SECONDS = 2.0
#: Each kind of figure with the name of its metric, and its meaning.
HAPPENED: Mapping[str, tuple[str, str]] = {
    "received": ("mailroom_received_deliveries", "Deliveries that a door took"),
    "recorded": ("mailroom_recorded_events", "Events that are new"),
    "ignored": ("mailroom_ignored_events", "Of these, events of a type for which nothing is done"),
    "done": ("mailroom_done_tasks", "Tasks that ended without a failure"),
    "failed": ("mailroom_failed_tasks", "Tasks that failed, and deliveries that nobody could read"),
    "parked": ("mailroom_parkings", "Events of unknown companies, and tasks that parked their tenant"),
    "calls": ("mailroom_front_requests", "Calls to Front"),
    "calls_refused": ("mailroom_front_requests_refused", "Of these, calls that Front answered with 429"),
}
log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Installation:
    """The figures of one moment. `processes` counts them by kind and by `alive` or `silent`."""

    now: datetime
    happened: Sums
    work: OpenWork
    parked: list[ParkedWork]
    counts: SmallCounts
    processes: Counter[tuple[str, str]]
    failed_repairs: int
    rescued: int
    token_refreshes: dict[str, int]
    deleted: dict[str, int]


def read_installation(conn: Connection) -> Installation:
    """Read all figures. Raises StoreUnavailable."""
    limit_statements(conn, READ_SECONDS)
    silent = status.silent_processes(conn)
    processes = Counter((each.kind, "alive") for each in status.running_processes(conn))
    processes.update((each.kind, "silent") for each in silent)
    return Installation(
        now=status.clock(conn),
        happened=figures.totals(conn),
        work=figures.open_work(conn),
        parked=status.parked_work(conn),
        counts=status.small_counts(conn),
        processes=processes,
        failed_repairs=len(repairs.unresolved_failures(conn)),
        rescued=read_counter(conn, "rescued"),
        token_refreshes=read_counters(conn, "token_refreshes:"),
        deleted=read_counters(conn, "deleted:"),
    )


class InstallationMetrics(Collector):
    """Shows the figures as metrics; without PostgreSQL only that it is away."""

    def __init__(self, pool: Pool, lookups: Lookups):
        self._pool = pool
        self._lookups = lookups

    def collect(self) -> Iterator[Metric]:
        """Read the figures, and the depth of the intake."""
        intake = self._lookups.intake.get()
        yield _gauge("mailroom_redis_up", "Whether Redis answers the console", float(intake.depth is not None))
        try:
            found: Installation | None = self._pool.run(read_installation)
        except StoreUnavailable as exc:
            log.warning("metrics_without_postgresql", reason=str(exc))
            found = None
        yield _gauge("mailroom_postgresql_up", "Whether PostgreSQL answers the console", float(found is not None))
        if found:
            yield from _families(found, intake)

    def describe(self) -> list[Metric]:
        """Describe nothing ahead: the registry would ask PostgreSQL for it."""
        return []


def _families(found: Installation, intake: IntakeState) -> Iterator[Metric]:
    for kind, (name, text) in HAPPENED.items():
        yield _counter(name, text, getattr(found.happened, kind))
    yield _labelled("mailroom_queue_depth", _DEPTH, "queue", _depths(found.work, intake))
    yield _labelled("mailroom_oldest_age_seconds", _AGE, "queue", _ages(found, intake))
    yield _labelled("mailroom_failed_open", "Failed tasks, up to 10,001 of a code", "code", found.work.failed_by_code)
    groups = found.counts.failure_groups
    yield _labelled("mailroom_failure_groups", "Groups of failures, by what was decided", "state", groups)
    parked = {each.cause: each.events for each in found.parked}
    yield _labelled("mailroom_parked_events", "Events that wait for a person, up to 10,001 of a cause", "cause", parked)
    yield _labelled("mailroom_tenants", "Tenants: works, or the cause that parks them", "state", found.counts.tenants)
    if found.counts.token_expires_at:
        left = (found.counts.token_expires_at - found.now).total_seconds()
        yield _gauge("mailroom_token_expiry_seconds", "Seconds until the first of all tokens expires", left)
    processes = GaugeMetricFamily(
        "mailroom_processes", "Processes with a heartbeat, or silent", labels=["kind", "state"]
    )
    for labels, count in sorted(found.processes.items()):
        processes.add_metric(labels, count)
    yield processes
    yield _gauge("mailroom_failed_repairs", "Tenants whose last comparison with Front failed", found.failed_repairs)
    yield _counter("mailroom_rescued", "Tasks and deliveries that the sweeper rescued", found.rescued)
    for name, text, label, counts in (
        ("mailroom_token_refreshes", "Refreshes of tokens", "result", found.token_refreshes),
        ("mailroom_deleted", "Rows and files that were deleted for their age", "what", found.deleted),
    ):
        family = CounterMetricFamily(name, text, labels=[label])
        for value, count in sorted(counts.items()):
            family.add_metric([value], count)
        yield family


_DEPTH = (
    "Deliveries in the `intake` or the `spool` that nobody recorded yet, and tasks that are `due` or `in_flight`; all "
    "but the intake up to 10,001"
)
_AGE = "Age of the oldest delivery in the intake or the spool, and of the oldest task that could run"


def _depths(work: OpenWork, intake: IntakeState) -> dict[str, float]:
    known = {} if intake.depth is None else {"intake": intake.depth}
    return {**known, "spool": work.spooled, "due": work.due, "in_flight": work.in_flight}


def _ages(found: Installation, intake: IntakeState) -> dict[str, float]:
    moments = {"spool": found.work.oldest_spooled_at, "due": found.work.oldest_due_at}
    ages = {name: max(0.0, (found.now - at).total_seconds()) if at else 0.0 for name, at in moments.items()}
    return ages if intake.depth is None else {"intake": intake.oldest_seconds, **ages}


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value=value)


def _labelled(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    pairs: Iterable[tuple[str, float]] = sorted(values.items())
    for value, number in pairs:
        family.add_metric([value], number)
    return family
