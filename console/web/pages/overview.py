"""The first page and the Status page: what waits, how old it is, what happened lately, and what needs somebody."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from console.process_report import mixed_versions, report_kinds
from console.web.pages.shell import open_work, page, reading, render
from console.web.resources import current_resources
from shared.db import figures
from shared.db.figures import KINDS, Minute
from shared.db.reading import activity, status

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flask.typing import ResponseReturnValue

    from console.web.lookups import IntakeState
    from shared.db.figures import OpenWork

MINUTES = 60  # in a chart
MOST_MARKS = 5  # of deployments in a chart
MOST_RUNNING = 100  # tasks
#: Each chart with its title, what is drawn, whether that is bad, and the bad part of it.
CHARTS = (
    ("Received", "received", False, None),
    ("Recorded", "recorded", False, None),
    ("Tasks done", "done", False, None),
    ("Failed", "failed", True, None),
    ("Parked", "parked", True, None),
    ("Calls to Front", "calls", False, "calls_refused"),
)


@page("/")
def overview() -> ResponseReturnValue:
    """Show the figures of all tenants together."""
    lookups, now = current_resources().lookups, datetime.now(UTC)
    this_minute = now.replace(second=0, microsecond=0)
    since = this_minute - timedelta(minutes=MINUTES - 1)
    with reading() as conn:
        minutes = figures.by_minute(conn, since)
        day = figures.sums(conn, now - timedelta(days=1))
        deployed = activity.deployments(conn, since, limit=MOST_MARKS)
    work, intake = open_work(), lookups.intake.get()
    return render(
        "pages/overview.html",
        title="Overview",
        section="Overview",
        oldest=_oldest(work, intake, now),
        work=work,
        intake=intake,
        parked=lookups.parked.get(),
        day=day,
        charts=CHARTS,
        series=_series(minutes, since),
        since=since,
        deployed=deployed,
        marks=[(_place(each.at, since), each.version) for each in deployed],
        budgets=lookups.budgets.get(),
        checked=lookups.checked.get(),
    )


@page("/status")
def status_page() -> ResponseReturnValue:
    """Show the checks in words, each with what to do, and the processes."""
    now = datetime.now(UTC)
    with reading() as conn:
        alive = status.running_processes(conn)
        silent = status.silent_processes(conn)
        running = activity.running_tasks(conn, limit=MOST_RUNNING)
        received = figures.last_minute(conn, "received")
    return render(
        "pages/status.html",
        title="Status",
        section="Status",
        checked=current_resources().lookups.checked.get(),
        processes=[*silent, *(each for each in alive if each.name not in {gone.name for gone in silent})],
        silent={each.name for each in silent},
        kinds=report_kinds(alive, silent, now),
        versions=mixed_versions(alive),
        running=running,
        most_running=MOST_RUNNING,
        received=received,
    )


def _oldest(work: OpenWork | None, intake: IntakeState, now: datetime) -> float:
    """Return for how many seconds the oldest waits that could go on: to be recorded, or for a free slot."""
    waiting = [intake.oldest_seconds]
    if work:
        moments = (work.oldest_spooled_at, work.oldest_due_at)
        waiting += [(now - at).total_seconds() for at in moments if at]
    return max(0.0, *waiting)


def _place(at: datetime, since: datetime) -> int:
    """Return the place of a moment's minute in a chart."""
    return (at - since) // timedelta(minutes=1)


def _series(minutes: Iterable[Minute], since: datetime) -> dict[str, list[int]]:
    """Return the figures of each kind, one for each minute; where nothing happened it is 0."""
    series = {kind: [0] * MINUTES for kind in KINDS}
    for each in minutes:
        place = _place(each.minute, since)
        if 0 <= place < MINUTES:
            for kind in KINDS:
                series[kind][place] = getattr(each, kind)
    return series
