"""`mailroom repair`: compare Front's list of events with the recorded ones, and feed the missing events in."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from console.cli.backend import backend
from console.cli.commands import FAILED, PARTLY_FAILED, NothingMatched
from console.cli.options import (
    Since,
    dry_run_option,
    json_option,
    yes_option,
)
from console.cli.output import (
    confirm,
    print_json,
    print_table,
    safe_text,
    say,
    share_progress,
    stdout_page,
    text_grid,
)
from console.times import format_short_time
from shared.errors import MailroomError

if TYPE_CHECKING:
    from datetime import datetime

    from rich.text import Text

    from console.cli.backend import Backend
    from shared.db.reading.repairs import RepairableTenant, RepairView

BAR_WIDTH = 30  # characters
COLUMNS = ("tenant", "state", "from (UTC)", "on Front's list", "recorded", "missing", "fed", "")
POLL_SECONDS = 0.5
NEEDED_PROCESSES = ("sweeper", "worker")


class NobodyWorks(MailroomError):
    """A process that repairs need is not alive; the repair waits for it."""

    code = "nobody_works"


@click.command()
@click.option("--since", type=Since(), metavar="6h|2d|TIME", help="Compare from then on.")
@click.option("--tenant", metavar="T", help="Only this tenant (name or company id).")
@click.option("--stop", is_flag=True, help="End what waits or runs; what was fed stays.")
@dry_run_option
@yes_option
@json_option
@click.pass_context
def repair(  # noqa: PLR0913 -- one parameter an option
    ctx: click.Context,
    since: datetime | None,
    tenant: str | None,
    *,
    stop: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Find events in Front's own list that no webhook brought, and work through them.

    The workers do it with the part of Front's rate limit that is free. This command follows them; Ctrl-C leaves them
    running. Example: mailroom repair --since 6h --dry-run
    """
    if stop == (since is not None):
        raise click.UsageError("say from when to compare: --since 6h, or --stop to end what runs")
    with backend() as mailroom:
        tenant_id = mailroom.tenant(tenant).id if tenant else None
        if since is None:
            _stop(mailroom, tenant_id)
            return
        repairs = _repair(mailroom, tenant_id, since, dry_run=dry_run, yes=yes)
    if as_json:
        print_json({"repairs": [{**asdict(each), "hours": _hours(each)} for each in repairs]})
    else:
        _print(repairs)
    ctx.exit(_exit_code(repairs))


def _stop(mailroom: Backend, tenant_id: int | None) -> None:
    stopped = mailroom.stop_repairs(tenant_id)
    if not stopped:
        raise NothingMatched("no repair waits or runs")
    click.echo(f"stopped: {stopped:,}")


def _repair(
    mailroom: Backend, tenant_id: int | None, since: datetime, *, dry_run: bool, yes: bool
) -> Sequence[RepairView]:
    candidates = _candidates(mailroom, tenant_id)
    if not dry_run:
        confirm(f"work through what is missing of {_tenants(candidates)}?", yes=yes)
    try:
        requested = mailroom.request_repairs([each.id for each in candidates], since=since, dry_run=dry_run)
    except MailroomError as refusal:
        if refusal.code == "nothing_received":
            raise NothingMatched(str(refusal)) from None
        raise
    try:
        return _follow(mailroom, requested, "compare" if dry_run else "repair")
    except KeyboardInterrupt:
        say("it goes on without this command; `mailroom status` shows it, `mailroom repair --stop` ends it")
        raise


def _candidates(mailroom: Backend, tenant_id: int | None) -> list[RepairableTenant]:
    """Return the connected tenants that are not parked, and name the parked ones on stderr."""
    connected = mailroom.repairable_tenants(tenant_id)
    for each in connected:
        if each.parked:
            say(f"left out: {each.name} is parked ({each.parked})")
    if free := [each for each in connected if not each.parked]:
        return free
    raise NothingMatched("no connected tenant can be compared; `mailroom tenant list` shows where they stand")


def _tenants(candidates: Sequence[RepairableTenant]) -> str:
    return candidates[0].name if len(candidates) == 1 else f"{len(candidates):,} tenants"


def _exit_code(repairs: Sequence[RepairView]) -> int:
    done = sum(each.state == "done" for each in repairs)
    return 0 if done == len(repairs) else PARTLY_FAILED if done else FAILED


def _follow(mailroom: Backend, repair_ids: Sequence[int], label: str) -> Sequence[RepairView]:
    """Show progress until each repair is over or parked, and return the repairs. Raises NobodyWorks."""
    with share_progress(label) as update:
        while True:
            repairs = mailroom.repairs(repair_ids)
            update(sum(map(_share_done, repairs)) / max(len(repairs), 1), _progress_note(repairs))
            if all(map(_is_over, repairs)):
                return repairs
            _check_processes(mailroom)
            time.sleep(POLL_SECONDS)


def _check_processes(mailroom: Backend) -> None:
    running = mailroom.running_kinds()
    if missing := [kind for kind in NEEDED_PROCESSES if kind not in running]:
        raise NobodyWorks(
            f"no {' and no '.join(missing)} is alive; the repair waits until they run: "
            "start them with `mailroom up` or your platform"
        )


def _is_over(repair: RepairView) -> bool:
    return repair.state not in {"waiting", "running"} or repair.parked is not None


def _share_done(repair: RepairView) -> float:
    """Return the share of the repair's time span that was compared."""
    if _is_over(repair):
        return 1.0
    if not (repair.since and repair.until and repair.position) or repair.until <= repair.since:
        return 0.0
    return (repair.position - repair.since) / (repair.until - repair.since)


def _progress_note(repairs: Sequence[RepairView]) -> str:
    over = f"{sum(map(_is_over, repairs)):,} of {len(repairs):,} tenants, " if len(repairs) > 1 else ""
    pages, missing, fed = (sum(getattr(each, name) for each in repairs) for name in ("pages", "missing", "fed"))
    return f"{over}{pages:,} pages, {missing:,} missing, {fed:,} fed"


def _print(repairs: Sequence[RepairView]) -> None:
    print_table(COLUMNS, map(_row, repairs), right=COLUMNS[3:7], unwrapped=("from (UTC)",))
    page = stdout_page()
    for repair in repairs:
        if repair.dry_run and repair.hours:
            page.print(safe_text(f"{repair.tenant}, by the hour (UTC): recorded █, missing ░", "dim"))
            page.print(text_grid(_chart(repair)))


def _row(repair: RepairView) -> tuple[object, ...]:
    since = format_short_time(repair.since) if repair.since else None
    why = repair.detail or repair.parked or repair.code
    return repair.tenant, repair.state, since, repair.seen, repair.known, repair.missing, repair.fed, why


def _hours(repair: RepairView) -> list[dict[str, Any]]:
    """Return the counts of each hour, the oldest first."""
    return [
        {"hour": hour, "seen": seen, "recorded": seen - missing, "missing": missing}
        for hour, (seen, missing) in sorted(repair.hours.items())
    ]


def _chart(repair: RepairView) -> list[list[Text]]:
    hours = _hours(repair)
    most = max(each["seen"] for each in hours)
    return [
        [
            safe_text(each["hour"].replace("T", " ").rstrip("Z")[5:]),
            _bar(each["recorded"], each["missing"], most),
            safe_text(f"{each['recorded']:,} of {each['seen']:,}"),
            safe_text(f"{each['missing']:,} missing" if each["missing"] else "", "red"),
        ]
        for each in hours
    ]


def _bar(recorded: int, missing: int, most: int) -> Text:
    """Draw one hour; anything missing takes at least one character."""
    gap = max(round(BAR_WIDTH * missing / most), 1) if missing else 0
    drawn = min(round(BAR_WIDTH * recorded / most), BAR_WIDTH - gap)
    return safe_text("█" * drawn, "green") + safe_text("░" * gap, "red")
