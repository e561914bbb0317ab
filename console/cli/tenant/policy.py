"""`mailroom tenant policy`: what is done with a tenant's conversations."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from console.cli.options import Duration, Since, json_option, yes_option


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
    from console.cli.tenant.undoing import undo

    dry_run = parts.pop("dry_run")
    left_out = {"inboxes": (), "all_inboxes": False}
    if any(part != left_out.get(option) for option, part in parts.items()):
        raise click.UsageError("--undo-since goes alone: it changes no policy")
    undo(name, undo_since, dry_run=bool(dry_run), yes=yes, as_json=as_json)


def _set(
    name: str, action: str | None, inboxes: tuple[str, ...], all_inboxes: bool, *, as_json: bool, **parts: Any
) -> None:
    from console.cli.database import database, the_tenant
    from console.cli.tenant.showing import show_tenant
    from shared.actions import checked_action, refuse_hasty_trash
    from shared.db import tenant_lookup, tenants

    change = tenants.PolicyChange(
        action=None if action is None else checked_action(action),
        only_inboxes=_inboxes(inboxes, all_inboxes),
        **parts,
    )
    with database() as conn, conn.transaction():
        tenant_lookup.hold(conn, the_tenant(conn, name).id)
        found = the_tenant(conn, name)
        refuse_hasty_trash(change.action or found.action, change.wait_for or found.wait_for)
        tenants.set_policy(conn, found.id, change)
        show_tenant(the_tenant(conn, name), as_json=as_json)


def _inboxes(named: tuple[str, ...], every: bool) -> list[str] | None:
    """The inboxes to narrow the policy to, none for all of them, None to leave it as it is."""
    from shared.actions import checked_inboxes

    if named and every:
        raise click.UsageError("--only-inbox and --all-inboxes exclude each other")
    return checked_inboxes(named) if named else [] if every else None
