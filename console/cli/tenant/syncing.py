"""`mailroom tenant sync-teammates` and `sync-inboxes`: whom mail is for, as Front knows it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from console.cli.options import dry_run_option, json_option

if TYPE_CHECKING:
    from console.teammate_changes import Change

UNTOLD = "unchanged"


@click.command("sync-teammates")
@click.argument("name")
@dry_run_option
@json_option
def sync_teammates(name: str, dry_run: bool, as_json: bool) -> None:
    """Make users of a tenant's teammates in Front, and set inactive who is blocked or gone there.

    Users from a list, the API or `user add` are never touched, nor is the action that you chose for somebody. Needs the
    permission teammates:read. Example: mailroom tenant sync-teammates Acme --dry-run
    """
    from console.asking import ask_front
    from console.cli.database import database, the_tenant
    from console.cli.output import say
    from console.syncing import sync_teammates as sync

    with database() as conn:
        tenant_id = the_tenant(conn, name).id
        teammates = ask_front(tenant_id, lambda front: front.teammates())
        say(f"{len(teammates):,} teammates in Front")
        found = sync(conn, tenant_id, teammates, dry_run=dry_run)
    _tell(found, ("added", "changed", "deactivated", UNTOLD, "left_alone"), dry_run=dry_run, as_json=as_json)


def _tell(found: Sequence[Change], outcomes: Sequence[str], *, dry_run: bool, as_json: bool) -> None:
    from console.cli.output import print_json, print_table

    counts = Counter[str](change.what for change in found)
    told = [change for change in found if change.what != UNTOLD]
    if as_json:
        print_json({**{each: counts[each] for each in outcomes}, "dry_run": dry_run, "changes": told})
        return
    if told:
        rows = [(each.what.replace("_", " "), each.external_id, each.name, each.why) for each in told]
        print_table(("", "id", "name", "why"), rows)
    line = ", ".join(f"{counts[each]:,} {each.replace('_', ' ')}" for each in outcomes)
    click.echo(("would be: " if dry_run else "") + line)
