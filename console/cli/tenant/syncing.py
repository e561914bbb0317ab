"""`mailroom tenant sync-teammates` and `sync-inboxes`: whom mail is for, as Front knows it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import click

from console.cli.options import dry_run_option, json_option

UNTOLD = "unchanged"
FIELDS = ("what", "id", "name", "why")
Row = tuple[str, str, str, str]


@click.command("sync-teammates")
@click.argument("name")
@dry_run_option
@json_option
def sync_teammates(name: str, dry_run: bool, as_json: bool) -> None:
    """Make users of a tenant's teammates in Front, and set inactive who is blocked or gone there.

    Users from a list, the API or `user add` are never touched, nor is the action that you chose for somebody. Needs the
    permission teammates:read. Example: mailroom tenant sync-teammates Acme --dry-run
    """
    from console.cli.commands import NothingMatched
    from console.cli.options import database, the_tenant
    from console.cli.output import say
    from console.directory_sync import ask_front
    from console.directory_sync import sync_teammates as sync

    with database() as conn:
        tenant_id = the_tenant(conn, name).id
        teammates = ask_front(tenant_id, lambda front: front.teammates())
        say(f"{len(teammates):,} teammates in Front")
        if not teammates:  # an app that may see nobody is told the same: that would set everybody inactive
            raise NothingMatched("Front names no teammate, not even an admin; nothing was changed")
        found = sync(conn, tenant_id, teammates, dry_run=dry_run)
    _tell(
        [(each.what, each.external_id, each.name, each.why) for each in found],
        ("added", "changed", "deactivated", UNTOLD, "left_alone"),
        dry_run=dry_run,
        as_json=as_json,
    )


@click.command("sync-inboxes")
@click.argument("name")
@dry_run_option
@json_option
def sync_inboxes(name: str, dry_run: bool, as_json: bool) -> None:
    """Take in the addresses of a tenant's shared inboxes; `mailroom inbox map` then says who stands for each.

    Whoever is mapped to an address stays so. Needs the permissions inboxes:read and channels:read; without them
    `mailroom inbox map` names addresses by hand. Example: mailroom tenant sync-inboxes Acme --dry-run
    """
    from console.cli.options import database, the_tenant
    from console.cli.output import say
    from console.directory_sync import ask_front
    from console.directory_sync import sync_inboxes as sync

    with database() as conn:
        tenant_id = the_tenant(conn, name).id
        inboxes, channels = ask_front(tenant_id, lambda front: (front.inboxes(), front.channels()))
        say(f"{len(inboxes):,} inboxes and {len(channels):,} channels in Front")
        found = sync(conn, tenant_id, inboxes, channels, dry_run=dry_run)
    _tell(
        [(each.what, each.address.address, each.address.inbox or "", each.why) for each in found],
        ("added", "changed", "removed", UNTOLD, "left_alone"),
        dry_run=dry_run,
        as_json=as_json,
    )


def _tell(rows: Sequence[Row], outcomes: Sequence[str], *, dry_run: bool, as_json: bool) -> None:
    from console.cli.output import print_json, print_table

    counts = Counter(what for what, *_ in rows)
    told = [row for row in rows if row[0] != UNTOLD]
    if as_json:
        changes = [dict(zip(FIELDS, row, strict=True)) for row in told]
        print_json({**{each: counts[each] for each in outcomes}, "dry_run": dry_run, "changes": changes})
        return
    if told:
        print_table(("", *FIELDS[1:]), [(what.replace("_", " "), *rest) for what, *rest in told])
    line = ", ".join(f"{counts[each]:,} {each.replace('_', ' ')}" for each in outcomes)
    click.echo(("would be: " if dry_run else "") + line)
