"""The document of `mailroom status --json` and of the API: how much waits, runs and is parked, and who works on it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from shared.connection.budget import Budget
from shared.db import figures
from shared.db.counters import read_counter, read_counters
from shared.db.figures import Sums
from shared.db.host import endpoints
from shared.db.reading import repairs, status
from shared.db.reading.status import ParkedWork, RunningProcess
from shared.db.tasks.outages import current_outages
from shared.db.tasks.rate_limit import TenantAtLimit, tenants_at_limit
from shared.db.tenants import connections, erasing, quotas
from shared.db.tenants.connections import RefusedTenant
from shared.db.tenants.erasing import ErasedCompany
from shared.db.tenants.quotas import HeldTenant
from shared.errors import StoreUnavailable
from shared.intake.client import open_intake
from shared.models import EVENT_STATES
from shared.queue import QueueDepth

if TYPE_CHECKING:
    from shared.db.core.pool import Connection
    from shared.db.reading.repairs import RepairView
    from shared.settings import Settings


@dataclass(frozen=True, kw_only=True)
class IntakeFigures:
    """Deliveries that no recorder took yet; `depth` is None while Redis does not answer."""

    depth: int | None
    oldest_age_seconds: float
    spooled: int


@dataclass(frozen=True, kw_only=True)
class RetentionFigures:
    """How long rows are kept, and how many were deleted for their age; 0 days: for ever."""

    unclaimed_days: int
    content_days: int
    events_days: int
    failed_days: int
    deleted: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class RepairFigures:
    """A repair without the counts of each hour."""

    id: int
    tenant: str
    state: str
    dry_run: bool
    since: datetime | None
    until: datetime | None
    position: datetime | None
    missing: int
    fed: int
    code: str | None
    detail: str | None
    parked: str | None


@dataclass(frozen=True, kw_only=True)
class GapFigures(RepairFigures):
    """A repair that found missing events."""

    settled_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class RepairsFigures:
    """The repairs that run, those that failed, and the latest that found something missing."""

    under_way: list[RepairFigures]
    failed: list[RepairFigures]
    last_gap: GapFigures | None


@dataclass(frozen=True, kw_only=True)
class OutageFigures:
    """A service that does not answer, and since when."""

    what: Literal["front", "storage"]
    since: datetime
    code: str


@dataclass(frozen=True, kw_only=True)
class HeldFigures:
    """An endpoint that is held, and how many notifications wait for it, up to one more than 10,000."""

    name: str
    tenant: str | None
    cause: str | None
    since: datetime | None
    waiting: int


@dataclass(frozen=True, kw_only=True)
class ProcessFigures:
    """The processes that run, and those without a heartbeat lately."""

    alive: list[RunningProcess]
    silent: list[RunningProcess]


@dataclass(frozen=True, kw_only=True)
class Status:
    """All figures of one moment. `dropped_messages` is None while Redis does not answer."""

    intake: IntakeFigures
    events: dict[str, int]
    last_hour: Sums
    parked: list[ParkedWork]
    tasks: dict[str, int]
    rescued: int
    dropped_messages: int | None
    token_refreshes: dict[str, int]
    retention: RetentionFigures
    refused: list[RefusedTenant]
    dry_run: list[str]
    repairs: RepairsFigures
    outages: list[OutageFigures]
    rate_limit: list[TenantAtLimit]
    held_endpoints: list[HeldFigures]
    over_quota: list[HeldTenant]
    erased: list[ErasedCompany]
    processes: ProcessFigures


def read_status(conn: Connection, settings: Settings, *, on_outage: Callable[[StoreUnavailable], object]) -> Status:
    """Read all figures; call `on_outage` when Redis does not answer. Call it inside a transaction."""
    by_state = dict.fromkeys(EVENT_STATES, 0)
    for group in status.count_events(conn):
        by_state[group.state] = by_state.get(group.state, 0) + group.count
    spooled = status.spool_status(conn)
    depth, oldest, dropped = _redis_figures(settings, on_outage)
    return Status(
        intake=IntakeFigures(
            depth=depth,
            oldest_age_seconds=round(max(oldest, spooled.oldest_age_seconds), 3),
            spooled=spooled.count,
        ),
        events=by_state,
        last_hour=figures.sums(conn, datetime.now(UTC) - timedelta(hours=1)),
        parked=status.parked_work(conn),
        tasks=status.count_tasks(conn),
        rescued=read_counter(conn, "rescued"),
        dropped_messages=dropped,
        token_refreshes=read_counters(conn, "token_refreshes:"),
        retention=RetentionFigures(
            unclaimed_days=settings.retention_unclaimed_days,
            content_days=settings.retention_content_days,
            events_days=settings.retention_events_days,
            failed_days=settings.retention_failed_days,
            deleted=dict.fromkeys(("unclaimed", "bodies", "events", "failed", "files"), 0)
            | read_counters(conn, "deleted:"),
        ),
        refused=connections.refused_tenants(conn),
        dry_run=status.tenants_in_dry_run(conn),
        repairs=_repairs(conn),
        outages=[OutageFigures(what=each.what, since=each.since, code=each.code) for each in current_outages(conn)],
        rate_limit=tenants_at_limit(conn, Budget.from_url(settings.redis_url.get_secret_value())),
        held_endpoints=[
            HeldFigures(
                name=each.name,
                tenant=each.tenant,
                cause=each.held_cause,
                since=each.held_at,
                waiting=each.waiting,
            )
            for each in endpoints.held(conn)
        ],
        over_quota=quotas.held_tenants(conn),
        erased=erasing.still_sending(conn),
        processes=ProcessFigures(
            alive=status.running_processes(conn, within=status.SILENT_SECONDS),
            silent=status.silent_processes(conn),
        ),
    )


def _redis_figures(
    settings: Settings, on_outage: Callable[[StoreUnavailable], object]
) -> tuple[int | None, float, int | None]:
    """Return the intake's depth, its oldest age in seconds, and the number of dropped messages of all queues."""
    with closing(open_intake(settings)) as intake, closing(QueueDepth(settings.redis_url.get_secret_value())) as queue:
        try:
            return intake.depth(), intake.oldest_age_seconds(), queue.dropped()
        except StoreUnavailable as error:
            on_outage(error)
            return None, 0.0, None


def _repairs(conn: Connection) -> RepairsFigures:
    gap = repairs.last_gap(conn)
    return RepairsFigures(
        under_way=[_figures(each) for each in repairs.under_way(conn)],
        failed=[_figures(each) for each in repairs.unresolved_failures(conn)],
        last_gap=GapFigures(**vars(_figures(gap)), settled_at=gap.settled_at) if gap else None,
    )


def _figures(repair: RepairView) -> RepairFigures:
    return RepairFigures(**{name: getattr(repair, name) for name in RepairFigures.__dataclass_fields__})
