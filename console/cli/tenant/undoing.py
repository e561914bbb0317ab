"""`mailroom tenant policy --undo-since`: request the undo of a policy's actions, and follow the workers that do it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from datetime import datetime

import click

from console.cli.commands import PARTLY_FAILED, NothingMatched
from console.cli.options import database, find_tenant, operator_name
from console.cli.output import confirm, count_progress, print_json, say
from console.times import format_time
from shared.db.core.pool import Connection
from shared.db.reading.status import running_processes
from shared.db.reading.tasks import UndoProgress, oldest_open_undo, undo_progress
from shared.db.tasks import manual_changes
from shared.db.tasks.manual_changes import Undoable
from shared.db.tenants.tenants import TenantOverview

BATCH_SIZE = 200  # conversations requested in one transaction
POLL_SECONDS = 0.5
PARTICIPLES = {"archive": "archived", "trash": "trashed"}


def undo(name: str, since: datetime, *, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Undo the actions since then, after asking.

    Raises NothingMatched without such an action. Exits with PARTLY_FAILED when an undo failed.
    """
    with database() as conn:
        tenant = find_tenant(conn, name)
        requested_from = oldest_open_undo(conn, tenant.id)
        plan = manual_changes.plan_undo(conn, tenant.id, since)
        under_way = undo_progress(conn, tenant.id, requested_from).open
        if not plan and not under_way:
            raise NothingMatched(
                f"nothing to undo: {tenant.name} has no action since {format_time(since)} that was not undone"
            )
        _print_plan(tenant, since, plan, under_way)
        if not dry_run:
            confirm("undo it?", yes=yes or not plan)
            _request(conn, tenant, since, plan)
            _follow(conn, tenant, requested_from)
        result = undo_progress(conn, tenant.id, requested_from)
    if as_json:
        request = {"tenant": tenant.name, "since": since, "dry_run": dry_run, "plan": plan}
        print_json(request | dataclasses.asdict(result))
    elif not dry_run:
        _print(result)
    if result.failed and not dry_run:
        say("`mailroom task list --state failed --kind undo_action` shows them, `task retry` tries them again")
        click.get_current_context().exit(PARTLY_FAILED)


def _print_plan(tenant: TenantOverview, since: datetime, plan: Sequence[Undoable], under_way: int) -> None:
    say(f"undo what was done to conversations of {tenant.name} since {format_time(since)} UTC:")
    for part in plan:
        say(f"  {part.conversations:>8,}  {_planned(part)}")
    if under_way:
        say(f"  {under_way:>8,}  asked for before and still under way")
    say("what people or rules changed since stays as it is; the policy itself is not changed by this")


def _planned(part: Undoable) -> str:
    done = PARTICIPLES.get(part.kind) or f"given {part.kind.partition(':')[2]}"
    if part.waiting:
        return f"would still be {done}: not any more"
    return f"{done}: {'opened again' if part.kind in PARTICIPLES else 'taken off'}"


def _request(conn: Connection, tenant: TenantOverview, since: datetime, plan: Sequence[Undoable]) -> None:
    who = operator_name()
    with count_progress("asking", sum(part.conversations for part in plan)) as advance:
        while batch := manual_changes.conversations_to_undo(conn, tenant.id, since, size=BATCH_SIZE):
            with conn.transaction():
                manual_changes.request_undo(conn, tenant.id, batch, since=since, who=who)
            advance(len(batch))


def _follow(conn: Connection, tenant: TenantOverview, requested_from: datetime) -> None:
    """Show the workers' progress until they are done; Ctrl-C leaves them running."""
    total = left = undo_progress(conn, tenant.id, requested_from).open
    if reason := _obstacle(conn, tenant):
        say(f"{total:,} to be undone; {reason}. {_how_to_follow(tenant)}")
        return
    try:
        with count_progress("undoing", total) as advance:
            while left:
                time.sleep(POLL_SECONDS)
                now_left = undo_progress(conn, tenant.id, requested_from).open
                advance(left - now_left)
                left = now_left
    except KeyboardInterrupt:
        say(f"\nit goes on without you. {_how_to_follow(tenant)}")


def _obstacle(conn: Connection, tenant: TenantOverview) -> str | None:
    """Return why nobody works on the undo now, or None when workers do."""
    if tenant.parked_cause:
        return f"the tenant is parked ({tenant.parked_cause}), and it goes on when that is over"
    if not any(process.kind == "worker" for process in running_processes(conn)):
        return "no worker is alive, and it goes on when one is"
    return None


def _how_to_follow(tenant: TenantOverview) -> str:
    return (
        f"The same command again watches; `mailroom task list --tenant {tenant.company_id} --kind undo_action` shows it"
    )


def _print(result: UndoProgress) -> None:
    counts = ((result.undone, "undone"), (result.stopped, "stopped before"), (result.open, "under way"))
    click.echo(", ".join(f"{count:,} {what}" for count, what in counts))
    for what, causes in (("left as it is", result.skipped), ("failed", result.failed)):
        for cause, count in sorted(causes.items()):
            click.echo(f"{count:,} {what}: {cause}")
