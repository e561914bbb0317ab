"""`mailroom repair`: finds what no webhook brought, in Front's own list of events."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from console.cli.options import Since, dry_run_option, json_option, yes_option

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from shared.db.pool import Connection
    from shared.db.reading.repairs import Candidate, ShownRepair


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
    from console.cli.database import database, the_tenant
    from console.cli.output import print_json
    from console.cli.repair_page import as_document, print_repairs

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
) -> Sequence[ShownRepair]:
    import getpass

    from console.cli.bulk import ask
    from console.cli.commands import NothingMatched
    from console.cli.following import follow
    from console.cli.output import say
    from shared.db import repair_requests, seen_types

    chosen = _chosen(conn, tenant_id)
    if not seen_types.every(conn):
        raise NothingMatched("no webhook was received yet: which events to compare is learned from them")
    if not dry_run:
        ask(f"work through what is missing of {_tenants(chosen)}?", yes=yes)
    ids = [each.id for each in chosen]
    asked = repair_requests.ask(conn, ids, since=since, dry_run=dry_run, who=getpass.getuser())
    try:
        return follow(conn, asked, "compare" if dry_run else "repair")
    except KeyboardInterrupt:
        say("it goes on without this command; `mailroom status` shows it, `mailroom repair --stop` ends it")
        raise


def _chosen(conn: Connection, tenant_id: int | None) -> list[Candidate]:
    """The connected tenants that nothing stands against; the others are named."""
    from console.cli.commands import NothingMatched
    from console.cli.output import say
    from shared.db.reading.repairs import candidates

    connected = candidates(conn, tenant_id)
    for each in connected:
        if each.parked:
            say(f"left out: {each.name} is parked ({each.parked})")
    if chosen := [each for each in connected if not each.parked]:
        return chosen
    raise NothingMatched("no connected tenant can be compared; `mailroom tenant list` shows where they stand")


def _stop(conn: Connection, tenant_id: int | None) -> None:
    import getpass

    from console.cli.commands import NothingMatched
    from shared.db import repair_requests

    stopped = repair_requests.stop(conn, tenant_id, who=getpass.getuser())
    if not stopped:
        raise NothingMatched("no repair waits or runs")
    click.echo(f"stopped: {stopped:,}")


def _tenants(chosen: Sequence[Candidate]) -> str:
    return chosen[0].name if len(chosen) == 1 else f"{len(chosen):,} tenants"


def _exit_code(repairs: Sequence[ShownRepair]) -> int:
    from console.cli.commands import FAILED, PARTLY_FAILED

    done = sum(each.state == "done" for each in repairs)
    return 0 if done == len(repairs) else PARTLY_FAILED if done else FAILED
