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
from shared.db.reading import monitoring, repairs, status
from shared.db.reading.monitoring import NEW_MINUTES, TENANT_MINUTES, Unusual
from shared.db.reading.status import ParkedWork, SmallCounts
from shared.db.tenants import quotas
from shared.errors import NeedsReconnect, StoreUnavailable, TokenUnavailable
from shared.models import QUOTAS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from console.web.lookups import Checked, IntakeState, Lookups, MonitoredTenants, RedisMemory
    from shared.db.core.pool import Connection, Pool

READ_SECONDS = 2.0
#: The kinds of process that have a heartbeat; each has a value even when there is none.
KINDS = ("console", "recorder", "sweeper", "worker")
#: The results of a refresh; each has a value even before the first one, so that Prometheus sees it grow.
REFRESH_RESULTS = ("ok", TokenUnavailable.code, NeedsReconnect.code)
#: The kinds of tasks that wait for their tenant's turn; each has a value even when none waits.
WORK_KINDS = ("apply_action", "fetch_message", "record", "store_attachment", "undo_action")
#: What is shown of each tenant that has metrics of its own.
TENANT_FIGURES = ("received", "done", "failed", "calls", "calls_refused")
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
    unusual: Unusual
    processes: Counter[tuple[str, str]]
    failed_repairs: int
    rescued: int
    token_refreshes: dict[str, int]
    deleted: dict[str, int]
    over_quota: Counter[str]


def read_installation(conn: Connection) -> Installation:
    """Read all figures. Raises StoreUnavailable."""
    limit_statements(conn, READ_SECONDS)
    silent = status.silent_processes(conn)
    processes = Counter({(kind, state): 0 for kind in KINDS for state in ("alive", "silent")})
    processes.update((each.kind, "alive") for each in status.running_processes(conn))
    processes.update((each.kind, "silent") for each in silent)
    return Installation(
        now=status.clock(conn),
        happened=figures.totals(conn),
        work=figures.open_work(conn),
        parked=status.parked_work(conn),
        counts=status.small_counts(conn),
        unusual=monitoring.unusual(conn),
        processes=processes,
        failed_repairs=len(repairs.unresolved_failures(conn)),
        rescued=read_counter(conn, "rescued"),
        token_refreshes=read_counters(conn, "token_refreshes:"),
        deleted=read_counters(conn, "deleted:"),
        over_quota=Counter(each.quota for each in quotas.held_tenants(conn)),
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
        if memory := self._lookups.redis_memory.get():
            yield from _memory(memory)
        if checked := self._lookups.monitored_checks.peek():
            yield _checks(checked)
        try:
            found: Installation | None = self._pool.run(read_installation)
        except StoreUnavailable as exc:
            log.warning("metrics_without_postgresql", reason=str(exc))
            found = None
        yield _gauge("mailroom_postgresql_up", "Whether PostgreSQL answers the console", float(found is not None))
        if found:
            yield from _families(found, intake)
        if found and (tenants := self._lookups.monitored_tenants.peek()):
            yield from _of_tenants(tenants, found.now)

    def describe(self) -> list[Metric]:
        """Describe nothing ahead: the registry would ask PostgreSQL for it."""
        return []


def _families(found: Installation, intake: IntakeState) -> Iterator[Metric]:
    for kind, (name, text) in HAPPENED.items():
        yield _counter(name, text, getattr(found.happened, kind))
    yield _labelled("mailroom_queue_depth", _DEPTH, "queue", _depths(found.work, intake))
    yield _labelled("mailroom_oldest_age_seconds", _AGE, "queue", _ages(found, intake))
    waiting = dict.fromkeys(WORK_KINDS, 0.0) | {
        kind: _age(due_at, found.now) for kind, due_at in found.work.oldest_by_kind.items()
    }
    yield _labelled("mailroom_oldest_task_seconds", _KIND_AGE, "kind", waiting)
    yield _labelled("mailroom_failed_open", "Failed tasks, up to 10,001 of a code", "code", found.work.failed_by_code)
    groups = found.counts.failure_groups
    yield _labelled("mailroom_failure_groups", "Groups of failures, by what was decided", "state", groups)
    new = found.unusual.new_failure_groups
    yield _gauge("mailroom_new_failure_groups", f"Open groups whose first failure is under {NEW_MINUTES} min old", new)
    parked = {each.cause: each.events for each in found.parked}
    yield _labelled("mailroom_parked_events", "Events that wait for a person, up to 10,001 of a cause", "cause", parked)
    yield _labelled("mailroom_tenants", "Tenants: works, or the cause that parks them", "state", found.counts.tenants)
    over: dict[str, float] = {quota: found.over_quota[quota] for quota in QUOTAS}
    yield _labelled("mailroom_tenants_over_quota", "Tenants whose files wait, as a quota is used up", "quota", over)
    held = found.unusual
    yield _gauge("mailroom_held_endpoints", "Endpoints that are held, though no person did it", held.held_endpoints)
    yield _gauge(
        "mailroom_held_endpoint_seconds", "For how long the first of them is held", _age(held.held_since, found.now)
    )
    if found.unusual.last_backup_at:
        yield _gauge("mailroom_backup_age_seconds", _BACKUP_AGE, _age(found.unusual.last_backup_at, found.now))
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
    refreshes = dict.fromkeys(REFRESH_RESULTS, 0) | found.token_refreshes
    for name, text, label, counts in (
        ("mailroom_token_refreshes", "Refreshes of tokens", "result", refreshes),
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
_AGE = (
    "Age of the oldest delivery in the `intake` or the `spool`, of the oldest task that could run (`due`), of the "
    "oldest notification that is not in the `feed` yet, and of the oldest one for an open endpoint (`notify`)"
)
_BACKUP_AGE = "Age of the last backup that `mailroom backup` made; nothing where it never made one"
_KIND_AGE = "Age of the oldest task of a kind that could run, among the twenty oldest of each tenant that is not parked"
_CHECK = "Whether a check of `mailroom doctor` found nothing wrong: 1, or 0 if somebody has to mend something"
_TENANT = f"What happened in the last {TENANT_MINUTES} whole minutes, of the busiest tenants"
_TENANT_AGE = "Age of the oldest task that could run, of the busiest tenants, also while they are parked"


def _depths(work: OpenWork, intake: IntakeState) -> dict[str, float]:
    known = {} if intake.depth is None else {"intake": intake.depth}
    return {**known, "spool": work.spooled, "due": work.due, "in_flight": work.in_flight}


def _ages(found: Installation, intake: IntakeState) -> dict[str, float]:
    moments = {
        "spool": found.work.oldest_spooled_at,
        "due": found.work.oldest_due_at,
        "feed": found.unusual.oldest_unpublished_at,
        "notify": found.unusual.oldest_unsent_at,
    }
    ages = {name: _age(at, found.now) for name, at in moments.items()}
    return ages if intake.depth is None else {"intake": intake.oldest_seconds, **ages}


def _age(at: datetime | None, now: datetime) -> float:
    return max(0.0, (now - at).total_seconds()) if at else 0.0


def _memory(memory: RedisMemory) -> Iterator[Metric]:
    yield _gauge("mailroom_redis_memory_bytes", "Memory that Redis uses", memory.used)
    if memory.limit:
        yield _gauge("mailroom_redis_memory_limit_bytes", "Memory that Redis may use; then it refuses", memory.limit)


def _checks(checked: Checked) -> Metric:
    results: dict[str, float] = {}
    for each in checked.findings:
        results[each.check] = min(results.get(each.check, 1.0), float(each.ok))
    return _labelled("mailroom_check_ok", _CHECK, "check", results)


def _of_tenants(tenants: MonitoredTenants, now: datetime) -> Iterator[Metric]:
    yield _gauge(
        "mailroom_silent_tenants", "Tenants without a webhook for an hour that is usually busy", len(tenants.silent)
    )
    happened = GaugeMetricFamily("mailroom_tenant_recent", _TENANT, labels=["tenant", "figure"])
    for each in tenants.busiest:
        for figure in TENANT_FIGURES:
            happened.add_metric([each.tenant, figure], getattr(each, figure))
    yield happened
    yield _labelled(
        "mailroom_tenant_oldest_age_seconds",
        _TENANT_AGE,
        "tenant",
        {each.tenant: _age(each.oldest_due_at, now) for each in tenants.busiest},
    )
    parked = {each.tenant: float(each.is_parked) for each in tenants.busiest}
    yield _labelled("mailroom_tenant_parked", "Whether a busy tenant is parked: 1, or 0", "tenant", parked)


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
