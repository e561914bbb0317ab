"""`mailroom repair`: finds what no webhook brought, in Front's own list of events."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from console.cli.options import Since, dry_run_option, json_option, yes_option
from console.cli.output import columns_of, print_table, screen, share, shown
from console.cli.times import short_stamp
from shared.db.reading.repairs import RepairView, repairs_by_id
from shared.db.reading.status import running_processes
from shared.errors import MailroomError

if TYPE_CHECKING:
    from datetime import datetime

    from shared.db.core.pool import Connection
    from shared.db.reading.repairs import RepairableTenant


STRIP = 30
COLUMNS = ("tenant", "state", "from (UTC)", "on Front's list", "recorded", "missing", "fed", "")

LOOK_EVERY = 0.5
#: Processes whose work a repair is.
NEEDED = ("sweeper", "worker")


def as_document(repairs: Sequence[RepairView]) -> dict[str, Any]:
    """The one document of `--json`; hours oldest first."""
    return {"repairs": [{**asdict(each), "hours": _hours(each)} for each in repairs]}


def print_repairs(repairs: Sequence[RepairView]) -> None:
    """The page."""
    print_table(COLUMNS, map(_row, repairs), right=COLUMNS[3:7], whole=("from (UTC)",))
    for repair in repairs:
        if repair.dry_run and repair.hours:
            screen().print(shown(f"\n{repair.tenant}, by the hour (UTC): recorded █, missing ░".lstrip("\n"), "dim"))
            screen().print(columns_of(_strip(repair)))


def _row(repair: RepairView) -> tuple[object, ...]:
    since = short_stamp(repair.since) if repair.since else None
    why = repair.detail or repair.parked or repair.code
    return repair.tenant, repair.state, since, repair.seen, repair.known, repair.missing, repair.fed, why


def _hours(repair: RepairView) -> list[dict[str, Any]]:
    return [
        {"hour": hour, "seen": seen, "recorded": seen - missing, "missing": missing}
        for hour, (seen, missing) in sorted(repair.hours.items())
    ]


def _strip(repair: RepairView) -> list[list[Text]]:
    hours = _hours(repair)
    most = max(each["seen"] for each in hours)
    return [
        [
            shown(each["hour"].replace("T", " ").rstrip("Z")[5:]),
            _bar(each["recorded"], each["missing"], most),
            shown(f"{each['recorded']:,} of {each['seen']:,}"),
            shown(f"{each['missing']:,} missing", "red") if each["missing"] else shown(""),
        ]
        for each in hours
    ]


def _bar(recorded: int, missing: int, most: int) -> Text:
    """At least one mark for anything that is missing."""
    gap = max(round(STRIP * missing / most), 1) if missing else 0
    return shown("█" * min(round(STRIP * recorded / most), STRIP - gap), "green") + shown("░" * gap, "red")


class NobodyWorks(MailroomError):
    """What was asked for waits for processes that do not run."""

    code = "nobody_works"


def follow(conn: Connection, repair_ids: Sequence[int], label: str) -> list[RepairView]:
    """The repairs once each is over or waits for a person. Raises NobodyWorks."""
    with share(label) as tell:
        while True:
            repairs = repairs_by_id(conn, repair_ids)
            tell(sum(map(_done, repairs)) / max(len(repairs), 1), _told(repairs))
            if all(map(_is_over, repairs)):
                return repairs
            check_alive(conn)
            time.sleep(LOOK_EVERY)


def check_alive(conn: Connection) -> None:
    """Raise NobodyWorks when a process is missing that repairs need."""
    running = {process.kind for process in running_processes(conn)}
    if missing := [kind for kind in NEEDED if kind not in running]:
        raise NobodyWorks(
            f"no {' and no '.join(missing)} is alive; what was asked for is done when they run: "
            "start them with `mailroom up` or your platform"
        )


def _is_over(repair: RepairView) -> bool:
    return repair.state not in {"waiting", "running"} or repair.parked is not None


def _done(repair: RepairView) -> float:
    """The share of its time that was compared."""
    if _is_over(repair):
        return 1.0
    if not (repair.since and repair.until and repair.position) or repair.until <= repair.since:
        return 0.0
    return (repair.position - repair.since) / (repair.until - repair.since)


def _told(repairs: Sequence[RepairView]) -> str:
    over = f"{sum(map(_is_over, repairs)):,} of {len(repairs):,} tenants, " if len(repairs) > 1 else ""
    pages, missing, fed = (sum(getattr(each, name) for each in repairs) for name in ("pages", "missing", "fed"))
    return f"{over}{pages:,} pages, {missing:,} missing, {fed:,} fed"


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
    """Find events that no webhook brought, in Front's own list, and work through them.

    The workers do it with what Front's rate limit has to spare; this command follows them, and Ctrl-C leaves them
    running. Example: mailroom repair --since 6h --dry-run
    """
    from console.cli.options import database, the_tenant
    from console.cli.output import print_json
    # DROPPED

    if stop == (since is not None):
        raise click.UsageError("say from when to compare: --since 6h, or --stop to end what runs")
    with database() as conn:
        tenant_id = the_tenant(conn, tenant).id if tenant else None
        if since is None:
            _stop(conn, tenant_id)
            return
        repairs = _repair(conn, tenant_id, since, dry_run=dry_run, yes=yes)
    if as_json:
        print_json(as_document(repairs))
    else:
        print_repairs(repairs)
    ctx.exit(_exit_code(repairs))


def _repair(
    conn: Connection, tenant_id: int | None, since: datetime, *, dry_run: bool, yes: bool
) -> Sequence[RepairView]:
    import getpass

    from console.cli.bulk import ask
    from console.cli.commands import NothingMatched

    # DROPPED
    from console.cli.output import say
    from shared.db import repairs
    from shared.db.recording import statements

    chosen = _chosen(conn, tenant_id)
    if not statements.seen_types(conn):
        raise NothingMatched("no webhook was received yet: which events to compare is learned from them")
    if not dry_run:
        ask(f"work through what is missing of {_tenants(chosen)}?", yes=yes)
    ids = [each.id for each in chosen]
    asked = repairs.request_repairs(conn, ids, since=since, dry_run=dry_run, who=getpass.getuser())
    try:
        return follow(conn, asked, "compare" if dry_run else "repair")
    except KeyboardInterrupt:
        say("it goes on without this command; `mailroom status` shows it, `mailroom repair --stop` ends it")
        raise


def _chosen(conn: Connection, tenant_id: int | None) -> list[RepairableTenant]:
    """The connected tenants that nothing stands against; the others are named."""
    from console.cli.commands import NothingMatched
    from console.cli.output import say
    from shared.db.reading.repairs import repairable_tenants

    connected = repairable_tenants(conn, tenant_id)
    for each in connected:
        if each.parked:
            say(f"left out: {each.name} is parked ({each.parked})")
    if chosen := [each for each in connected if not each.parked]:
        return chosen
    raise NothingMatched("no connected tenant can be compared; `mailroom tenant list` shows where they stand")


def _stop(conn: Connection, tenant_id: int | None) -> None:
    import getpass

    from console.cli.commands import NothingMatched
    from shared.db import repairs

    stopped = repairs.stop_repairs(conn, tenant_id, who=getpass.getuser())
    if not stopped:
        raise NothingMatched("no repair waits or runs")
    click.echo(f"stopped: {stopped:,}")


def _tenants(chosen: Sequence[RepairableTenant]) -> str:
    return chosen[0].name if len(chosen) == 1 else f"{len(chosen):,} tenants"


def _exit_code(repairs: Sequence[RepairView]) -> int:
    from console.cli.commands import FAILED, PARTLY_FAILED

    done = sum(each.state == "done" for each in repairs)
    return 0 if done == len(repairs) else PARTLY_FAILED if done else FAILED
