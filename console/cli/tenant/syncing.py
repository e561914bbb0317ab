"""`mailroom tenant sync-teammates` and `sync-inboxes`: take over users and shared inboxes from Front."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import click

from console.cli.commands import NothingMatched
from console.cli.options import act_as_user, database, dry_run_option, find_tenant, json_option
from console.cli.output import print_json, print_table, say

UNCHANGED = "unchanged"
FIELDS = ("what", "id", "name", "why")
Row = tuple[str, str, str, str]


@click.command("sync-teammates")
@click.argument("name")
@dry_run_option
@json_option
def sync_teammates(name: str, dry_run: bool, as_json: bool) -> None:
    """Make users of a tenant's teammates in Front; deactivate users who are blocked or gone there.

    Users from a list, the API or `user add` are never changed, nor is an action that you chose for a user. Needs the
    permission teammates:read. Example: mailroom tenant sync-teammates Acme --dry-run
    """
    from console.directory_sync import call_front
    from console.directory_sync import sync_teammates as sync

    with database() as conn:
        tenant_id = find_tenant(conn, name).id
        teammates = call_front(tenant_id, lambda front: front.teammates())
        say(f"{len(teammates):,} teammates in Front")
        if not teammates:  # an app that may see nobody gets the same answer: it would deactivate everybody
            raise NothingMatched("Front names no teammate, not even an admin; nothing was changed")
        with conn.transaction():
            act_as_user(conn)
            changes = sync(conn, tenant_id, teammates, dry_run=dry_run)
    _print(
        [(each.outcome, each.external_id, each.name, each.reason) for each in changes],
        ("added", "changed", "deactivated", UNCHANGED, "left_alone"),
        dry_run=dry_run,
        as_json=as_json,
    )


@click.command("sync-inboxes")
@click.argument("name")
@dry_run_option
@json_option
def sync_inboxes(name: str, dry_run: bool, as_json: bool) -> None:
    """Take in the addresses of a tenant's shared inboxes; `mailroom inbox map` then maps them to users.

    Mapped addresses keep their user. Needs the permissions inboxes:read and channels:read; without them
    `mailroom inbox map` adds addresses by hand. Example: mailroom tenant sync-inboxes Acme --dry-run
    """
    from console.directory_sync import call_front
    from console.directory_sync import sync_inboxes as sync

    with database() as conn:
        tenant_id = find_tenant(conn, name).id
        inboxes, channels = call_front(tenant_id, lambda front: (front.inboxes(), front.channels()))
        say(f"{len(inboxes):,} inboxes and {len(channels):,} channels in Front")
        with conn.transaction():
            act_as_user(conn)
            changes = sync(conn, tenant_id, inboxes, channels, dry_run=dry_run)
    _print(
        [(each.outcome, each.address.address, each.address.inbox or "", each.reason) for each in changes],
        ("added", "changed", "removed", UNCHANGED, "left_alone"),
        dry_run=dry_run,
        as_json=as_json,
    )


def _print(rows: Sequence[Row], outcomes: Sequence[str], *, dry_run: bool, as_json: bool) -> None:
    counts = Counter(outcome for outcome, *_ in rows)
    changed = [row for row in rows if row[0] != UNCHANGED]
    if as_json:
        changes = [dict(zip(FIELDS, row, strict=True)) for row in changed]
        print_json({**{each: counts[each] for each in outcomes}, "dry_run": dry_run, "changes": changes})
        return
    if changed:
        print_table(("", *FIELDS[1:]), [(outcome.replace("_", " "), *rest) for outcome, *rest in changed])
    line = ", ".join(f"{counts[each]:,} {each.replace('_', ' ')}" for each in outcomes)
    click.echo(("would be: " if dry_run else "") + line)
