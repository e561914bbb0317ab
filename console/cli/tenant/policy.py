"""`mailroom tenant policy --undo-since`: undoes what a policy did; the workers do it, this asks and watches."""

from __future__ import annotations

import dataclasses
import getpass
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import click

from console.cli.bulk import ask
from console.cli.commands import PARTLY_FAILED, NothingMatched
from console.cli.options import Duration, Since, database, json_option, the_tenant, yes_option
from console.cli.output import print_json, progress, say
from console.cli.times import stamp
from shared.db.core.pool import Connection
from shared.db.reading.status import running_processes
from shared.db.reading.tasks import UndoProgress, oldest_open_undo, undo_progress
from shared.db.tasks import manual_changes
from shared.db.tasks.manual_changes import Undoable
from shared.db.tenants.tenants import TenantOverview

BATCH = 200  # conversations asked for in one transaction
LOOK_SECONDS = 0.5
DID = {"archive": "archived", "trash": "trashed"}


def undo(name: str, since: datetime, *, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Undo it after asking. Raises NothingMatched; exits with PARTLY_FAILED when something could not be undone."""
    with database() as conn:
        tenant = the_tenant(conn, name)
        asked_from = oldest_open_undo(conn, tenant.id)
        plan = manual_changes.plan_undo(conn, tenant.id, since)
        standing = undo_progress(conn, tenant.id, asked_from).open
        if not plan and not standing:
            raise NothingMatched(
                f"nothing to undo: {tenant.name} has no action since {stamp(since)} that was not undone"
            )
        _tell(tenant, since, plan, standing)
        if not dry_run:
            ask("undo it?", yes=yes or not plan)
            _ask_for_it(conn, tenant, since, plan)
            _watch(conn, tenant, asked_from)
        came_of_it = undo_progress(conn, tenant.id, asked_from)
    if as_json:
        shown = {"tenant": tenant.name, "since": since, "dry_run": dry_run, "plan": plan}
        print_json(shown | dataclasses.asdict(came_of_it))
    elif not dry_run:
        _print(came_of_it)
    if came_of_it.failed and not dry_run:
        say("`mailroom task list --state failed --kind undo_action` shows them, `task retry` tries them again")
        click.get_current_context().exit(PARTLY_FAILED)


def _tell(tenant: TenantOverview, since: datetime, plan: Sequence[Undoable], standing: int) -> None:
    say(f"undo what was done to conversations of {tenant.name} since {stamp(since)} UTC:")
    for part in plan:
        say(f"  {part.conversations:>8,}  {_what(part)}")
    if standing:
        say(f"  {standing:>8,}  asked for before and still under way")
    say("what people or rules changed since stays as it is; the policy itself is not changed by this")


def _what(part: Undoable) -> str:
    if part.waiting:
        return f"would still be {_did(part.kind)}: not any more"
    return f"{_did(part.kind)}: {'opened again' if part.kind in DID else 'taken off'}"


def _did(kind: str) -> str:
    return DID.get(kind) or f"given {kind.partition(':')[2]}"


def _ask_for_it(conn: Connection, tenant: TenantOverview, since: datetime, plan: Sequence[Undoable]) -> None:
    who = getpass.getuser()
    with progress("asking", sum(part.conversations for part in plan)) as advance:
        while batch := manual_changes.conversations_to_undo(conn, tenant.id, since, size=BATCH):
            with conn.transaction():
                manual_changes.request_undo(conn, tenant.id, batch, since=since, who=who)
            advance(len(batch))


def _watch(conn: Connection, tenant: TenantOverview, asked_from: datetime) -> None:
    """Show how far the workers are, until they are done; Ctrl-C leaves them at it."""
    total = left = undo_progress(conn, tenant.id, asked_from).open
    if reason := _nobody_works(conn, tenant):
        say(f"{total:,} to be undone; {reason}. {_how_to_watch(tenant)}")
        return
    try:
        with progress("undoing", total) as advance:
            while left:
                time.sleep(LOOK_SECONDS)
                now_left = undo_progress(conn, tenant.id, asked_from).open
                advance(left - now_left)
                left = now_left
    except KeyboardInterrupt:
        say(f"\nit goes on without you. {_how_to_watch(tenant)}")


def _nobody_works(conn: Connection, tenant: TenantOverview) -> str | None:
    if tenant.parked_cause:
        return f"the tenant is parked ({tenant.parked_cause}), and it goes on when that is over"
    if not any(process.kind == "worker" for process in running_processes(conn)):
        return "no worker is alive, and it goes on when one is"
    return None


def _how_to_watch(tenant: TenantOverview) -> str:
    return (
        f"The same command again watches; `mailroom task list --tenant {tenant.company_id} --kind undo_action` shows it"
    )


def _print(came_of_it: UndoProgress) -> None:
    counts = ((came_of_it.undone, "undone"), (came_of_it.stopped, "stopped before"), (came_of_it.open, "under way"))
    click.echo(", ".join(f"{count:,} {what}" for count, what in counts))
    for what, causes in (("left as it is", came_of_it.skipped), ("failed", came_of_it.failed)):
        for cause, count in sorted(causes.items()):
            click.echo(f"{count:,} {what}: {cause}")


@click.command()
@click.argument("name")
@click.option("--action", metavar="none|archive|trash|tag:ID", help="What is done to a conversation at the end.")
@click.option("--wait-for", type=click.Choice(("stored", "settled")), help="Which files an archive or tag waits for.")
@click.option("--only-when-matched/--always", default=None, help="Whether a recipient must be a user.")
@click.option("--fold-plus/--no-fold-plus", default=None, help="Whether jane+bills@… is jane@….")
@click.option("--act-within", type=Duration(), help="Act only on events younger than this.")
@click.option(
    "--only-inbox", "inboxes", multiple=True, metavar="inb_…", help="Act in this inbox only; repeat for more."
)
@click.option("--all-inboxes", is_flag=True, help="Act in every inbox.")
@click.option("--dry-run/--no-dry-run", default=None, help="Plan and tell everything, change nothing in Front.")
@click.option(
    "--undo-since",
    type=Since(),
    metavar="2h|7d|TIME",
    help="Reopen what was archived or trashed since then, take tags off, stop what waits. With --dry-run only tell.",
)
@yes_option
@json_option
def policy(name: str, undo_since: datetime | None, yes: bool, as_json: bool, **parts: Any) -> None:
    """Set what is done with a tenant's future events; without an option show it. What is planned already stays.

    Examples: mailroom tenant policy Acme --action archive --act-within 7d --only-inbox inb_3vq81c;
    mailroom tenant policy Acme --undo-since 2h --dry-run
    """
    if undo_since is None:
        _set(name, as_json=as_json, **parts)
        return
    # DROPPED

    dry_run = parts.pop("dry_run")
    left_out = {"inboxes": (), "all_inboxes": False}
    if any(part != left_out.get(option) for option, part in parts.items()):
        raise click.UsageError("--undo-since goes alone: it changes no policy")
    undo(name, undo_since, dry_run=bool(dry_run), yes=yes, as_json=as_json)


def _set(
    name: str, action: str | None, inboxes: tuple[str, ...], all_inboxes: bool, *, as_json: bool, **parts: Any
) -> None:
    from console.cli.options import database, the_tenant
    from console.cli.tenant.manage import show_tenant
    from shared.actions import validate_wait_for, validated_action
    from shared.db.tenants import tenants

    change = tenants.PolicyChange(
        action=None if action is None else validated_action(action),
        only_inboxes=_inboxes(inboxes, all_inboxes),
        **parts,
    )
    with database() as conn, conn.transaction():
        tenants.lock(conn, the_tenant(conn, name).id)
        found = the_tenant(conn, name)
        validate_wait_for(change.action or found.action, change.wait_for or found.wait_for)
        tenants.set_policy(conn, found.id, change)
        show_tenant(the_tenant(conn, name), as_json=as_json)


def _inboxes(named: tuple[str, ...], every: bool) -> list[str] | None:
    """The inboxes to narrow the policy to, none for all of them, None to leave it as it is."""
    from shared.actions import validated_inboxes

    if named and every:
        raise click.UsageError("--only-inbox and --all-inboxes exclude each other")
    return validated_inboxes(named) if named else [] if every else None
