"""`mailroom tenant list` and `show`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from console.cli.options import json_option

if TYPE_CHECKING:
    from shared.db.tenants.tenants import TenantOverview


WAITS = {
    "stored": "stored: until every file of the conversation is stored",
    "settled": "settled: until no file of the conversation is under way any more; trash waits until all are stored",
}


@click.command("list")
@click.option("--customer", metavar="ID", help="Only those with this id of a customer of yours.")
@json_option
def list_(customer: str | None, as_json: bool) -> None:
    """List all tenants, or a customer's: one for each of its Front companies."""
    from console.cli.options import database
    from console.cli.output import print_json, print_table
    from shared.db.reading.status import waiting_tasks
    from shared.db.tenants import tenants
    from shared.text import clean

    chosen = customer and clean(customer, tenants.LONGEST_NAME)
    with database() as conn, conn.transaction():
        every, waiting = tenants.list_all(conn, customer=chosen), waiting_tasks(conn)
    if as_json:
        print_json([{**asdict(each), "parked_tasks": waiting.get(each.name, 0)} for each in every])
        return
    rows = [
        (t.name, t.company_id, t.connection or "not connected", t.users, _action(t), _parked(t, waiting.get(t.name, 0)))
        for t in every
    ]
    print_table(("name", "company", "connection", "users", "action", "parked"), rows, right=("users",))


def _action(tenant: TenantOverview) -> str:
    return f"{tenant.action} (dry run)" if tenant.dry_run else tenant.action


@click.command()
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """Show one tenant, by name or company id."""
    from console.cli.options import database, the_tenant

    with database() as conn:
        found = the_tenant(conn, name)
    show_tenant(found, as_json=as_json)


def show_tenant(found: TenantOverview, *, as_json: bool) -> None:
    """All that is known of a tenant."""
    from console.cli.output import print_json

    if as_json:
        print_json(found)
    else:
        _print_tenant(found)


def _parked(found: TenantOverview, tasks: int) -> str | None:
    return f"{found.parked_cause}, {tasks:,} tasks wait" if found.parked_cause and tasks else found.parked_cause


def _print_tenant(found: TenantOverview) -> None:
    """A line each."""
    from console.cli.output import print_facts
    from console.cli.times import spoken, stamp

    own = found.users_with_action
    connected = f"{found.connection}, version {found.connection_version}" if found.connection else "none"
    rows = [
        ("tenant", found.name),
        ("company", found.company_id or "not known before an admin connects it"),
        *([("customer", found.customer)] if found.customer else []),
        ("connection", connected),
        ("connected", stamp(found.connected_at) if found.connected_at else "never"),
        (
            "parked",
            f"{found.parked_cause} since {stamp(found.parked_at)}" if found.parked_cause and found.parked_at else "no",
        ),
        ("users", f"{found.users:,}" + (f", {own:,} with an action of their own" if own else "")),
        ("action", found.action + (" when a recipient is a user" if found.only_when_matched else " always")),
        ("dry run", "yes: everything is planned, nothing is changed in Front" if found.dry_run else "no"),
        ("inboxes", "all" if found.only_inboxes is None else "only " + ", ".join(found.only_inboxes)),
        ("waits for files", WAITS[found.wait_for]),
        ("acts within", spoken(found.act_within.total_seconds())),
        ("folds +tags", "yes" if found.fold_plus else "no"),
    ]
    print_facts(rows)


@click.command()
@click.argument("name")
def pause(name: str) -> None:
    """Hold a tenant's work back. Its deliveries are still received and recorded."""
    from console.cli.options import database, the_tenant
    from shared.db.tenants import tenants

    with database() as conn:
        changed = tenants.pause(conn, the_tenant(conn, name).id)
        cause = the_tenant(conn, name).parked_cause
    click.echo(f"paused {name}" if changed else f"{name} was {cause} already")


@click.command()
@click.argument("name")
def resume(name: str) -> None:
    """Let a paused tenant's work go on."""
    from console.cli.options import database, the_tenant
    from shared.db.tenants import tenants

    with database() as conn:
        changed = tenants.resume(conn, the_tenant(conn, name).id)
        cause = the_tenant(conn, name).parked_cause
    waits = f"; it still waits: {cause}" if cause else ""
    click.echo((f"resumed {name}" if changed else f"{name} was not paused") + waits)
