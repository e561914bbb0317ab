"""`mailroom tenant policy`, `pause` and `resume`: decide what is done with a tenant's mail, and when."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from console.cli.backend import backend
from console.cli.options import Duration, Since, Size, json_option, yes_option
from console.cli.tenant.overview import print_tenant
from shared.actions import validated_action, validated_inboxes


@click.command()
@click.argument("name")
@click.option("--action", metavar="none|archive|trash|tag:ID", help="What is done to a conversation at the end.")
@click.option("--wait-for", type=click.Choice(("stored", "settled")), help="Which files an archive or tag waits for.")
@click.option(
    "--after",
    "act_after",
    type=click.Choice(("files", "notified")),
    help="Whether archive and trash wait until the host application took the message, too.",
)
@click.option("--only-when-matched/--always", default=None, help="Whether a recipient must be a user.")
@click.option("--fold-plus/--no-fold-plus", default=None, help="Whether jane+bills@… is jane@….")
@click.option("--act-within", type=Duration(), help="Act only on events younger than this.")
@click.option(
    "--only-inbox", "inboxes", multiple=True, metavar="inb_…", help="Act in this inbox only; repeat for more."
)
@click.option("--all-inboxes", is_flag=True, help="Act in every inbox.")
@click.option("--dry-run/--no-dry-run", default=None, help="Plan and tell everything, change nothing in Front.")
@click.option("--max-stored", "max_stored_bytes", type=Size(), help="Quota of bytes of files; 0: none.")
@click.option("--max-events-a-day", type=click.IntRange(0, 2**63 - 1), help="Quota of events of a day (UTC); 0: none.")
@click.option(
    "--undo-since",
    type=Since(),
    metavar="2h|7d|TIME",
    help="Reopen what was archived or trashed since then, take tags off, stop what waits. With --dry-run only tell.",
)
@yes_option
@json_option
def policy(name: str, undo_since: datetime | None, yes: bool, as_json: bool, **parts: Any) -> None:
    """Set what is done with a tenant's future events; without an option show it. Planned actions stay planned.

    When a quota is used up, files wait at Front until there is room, and actions that wait for them. Nothing is lost.

    Examples: mailroom tenant policy Acme --action archive --act-within 7d --only-inbox inb_3vq81c;
    mailroom tenant policy Acme --undo-since 2h --dry-run
    """
    if undo_since is None:
        _set(name, as_json=as_json, **parts)
    else:
        _undo(name, undo_since, yes=yes, as_json=as_json, **parts)


def _set(
    name: str, action: str | None, inboxes: tuple[str, ...], all_inboxes: bool, *, as_json: bool, **parts: Any
) -> None:
    from shared.db.tenants import tenants

    change = tenants.PolicyChange(
        action=None if action is None else validated_action(action),
        only_inboxes=_only_inboxes(inboxes, all_inboxes=all_inboxes),
        **parts,
    )
    with backend() as mailroom:
        tenant = mailroom.tenant(name)
        if change != tenants.PolicyChange():
            mailroom.set_policy(tenant.id, change)
            tenant = mailroom.tenant(name)
        print_tenant(tenant, as_json=as_json)


def _only_inboxes(inboxes: tuple[str, ...], *, all_inboxes: bool) -> list[str] | None:
    """Return the inboxes to narrow the policy to: an empty list for all inboxes, None to change nothing."""
    if inboxes and all_inboxes:
        raise click.UsageError("--only-inbox and --all-inboxes exclude each other")
    return validated_inboxes(inboxes) if inboxes else [] if all_inboxes else None


def _undo(name: str, since: datetime, *, yes: bool, as_json: bool, dry_run: bool | None, **parts: Any) -> None:
    from console.cli.tenant.undoing import undo

    defaults = {"inboxes": (), "all_inboxes": False}
    if any(value != defaults.get(option) for option, value in parts.items()):
        raise click.UsageError("--undo-since goes alone: it changes no policy")
    undo(name, since, dry_run=bool(dry_run), yes=yes, as_json=as_json)


@click.command()
@click.argument("name")
def pause(name: str) -> None:
    """Pause a tenant's work. Its deliveries are still received and recorded. Its own API tokens cannot resume it."""
    with backend() as mailroom:
        before = mailroom.tenant(name)
        mailroom.pause_tenant(before.id)
        after = mailroom.tenant(name)
    changed = (before.parked_cause, before.paused_by) != (after.parked_cause, after.paused_by)
    click.echo(f"paused {name}" if changed else f"{name} was {after.parked_cause} already")


@click.command()
@click.argument("name")
def resume(name: str) -> None:
    """Resume a paused tenant's work."""
    with backend() as mailroom:
        before = mailroom.tenant(name)
        mailroom.resume_tenant(before.id)
        after = mailroom.tenant(name)
    waits = f"; it still waits: {after.parked_cause}" if after.parked_cause else ""
    click.echo((f"resumed {name}" if before.paused_by else f"{name} was not paused") + waits)
