"""`mailroom tenant`: adds and connects tenants, sets their policy, pauses them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from console.cli.options import Duration, json_option

if TYPE_CHECKING:
    from shared.db.tenants import PolicyChange, TenantOverview

TokenFile = click.Path(exists=True, dir_okay=False, path_type=Path)
token_file_option = click.option("--api-token-file", "token_file", type=TokenFile, help="A file with the API token.")
no_check_option = click.option("--no-check", is_flag=True, help="Do not ask Front whose token it is.")


@click.group()
def tenant() -> None:
    """Add, connect and steer tenants."""


@tenant.command()
@click.argument("name")
@click.option("--company", required=True, metavar="cmp_…", help="Front's id of the company.")
@token_file_option
@no_check_option
def add(name: str, company: str, token_file: Path | None, no_check: bool) -> None:
    """Add a tenant; with a token it is connected at once.

    Example: mailroom tenant add Acme --company cmp_4k2p9 --api-token-file acme.token
    """
    from console.cli.connecting import check_names, seal_and_store, token_in
    from console.cli.database import database
    from shared.db import tenants

    check_names(name, company)
    token = token_in(token_file, company=None if no_check else company) if token_file else None
    with database() as conn, conn.transaction():
        tenant_id = tenants.add(conn, name, company)
        if token:
            seal_and_store(conn, tenant_id, token)
    click.echo(
        f"added {name} for {company}" + ("" if token else f"; connect it with `mailroom tenant connect {name} …`")
    )


@tenant.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List all tenants."""
    from console.cli.database import database
    from console.cli.output import print_json, print_table
    from shared.db import tenants

    with database() as conn:
        every = tenants.every(conn)
    if as_json:
        print_json(every)
        return
    rows = [(t.name, t.company_id, t.connection or "not connected", t.users, t.action, t.parked_cause) for t in every]
    print_table(("name", "company", "connection", "users", "action", "parked"), rows, right=("users",))


@tenant.command()
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """Show one tenant, by name or company id."""
    from console.cli.database import database, the_tenant
    from console.cli.output import print_json

    with database() as conn:
        found = the_tenant(conn, name)
    if as_json:
        print_json(found)
    else:
        _print(found)


@tenant.command()
@click.argument("name")
@token_file_option
@no_check_option
def connect(name: str, token_file: Path | None, no_check: bool) -> None:
    """Give a tenant a new token; what waited for it goes on by itself."""
    from console.cli.connecting import seal_and_store, token_in
    from console.cli.database import database, the_tenant

    if token_file is None:
        raise click.UsageError(
            "connecting through OAuth is not configured here; pass --api-token-file FILE with an API token "
            "(Front: Settings, Developers, API tokens)"
        )
    with database() as conn:
        found = the_tenant(conn, name)
        token = token_in(token_file, company=None if no_check else found.company_id)
        with conn.transaction():
            version = seal_and_store(conn, found.id, token)
    click.echo(f"connected {found.name} (token version {version})")


@tenant.command()
@click.argument("name")
@click.option("--action", metavar="none|archive|trash|tag:ID", help="What is done to a conversation at the end.")
@click.option("--wait-for", type=click.Choice(("stored", "settled")), help="Which files an archive or tag waits for.")
@click.option("--only-when-matched/--always", default=None, help="Whether a recipient must be a user.")
@click.option("--fold-plus/--no-fold-plus", default=None, help="Whether jane+bills@… is jane@….")
@click.option("--act-within", type=Duration(), help="Act only on events younger than this.")
def policy(name: str, action: str | None, **parts: Any) -> None:
    """Set what is done with a tenant's future events; without an option show it.

    Example: mailroom tenant policy Acme --action archive --act-within 7d
    """
    from console.cli.database import database, the_tenant
    from shared.actions import checked_action
    from shared.db import tenants

    change = tenants.PolicyChange(action=None if action is None else checked_action(action), **parts)
    with database() as conn, conn.transaction():
        found = the_tenant(conn, name)
        _refuse_hasty_trash(found, change)
        tenants.set_policy(conn, found.id, change)
        _print(the_tenant(conn, name))


@tenant.command()
@click.argument("name")
def pause(name: str) -> None:
    """Hold a tenant's work back. Its deliveries are still received and recorded."""
    from console.cli.database import database, the_tenant
    from shared.db import tenants

    with database() as conn:
        changed = tenants.pause(conn, the_tenant(conn, name).id)
    click.echo(f"paused {name}" if changed else f"{name} was paused already")


@tenant.command()
@click.argument("name")
def resume(name: str) -> None:
    """Let a paused tenant's work go on."""
    from console.cli.database import database, the_tenant
    from shared.db import tenants

    with database() as conn:
        changed = tenants.resume(conn, the_tenant(conn, name).id)
        cause = the_tenant(conn, name).parked_cause
    waits = f"; it still waits: {cause}" if cause else ""
    click.echo((f"resumed {name}" if changed else f"{name} was not paused") + waits)


def _refuse_hasty_trash(found: TenantOverview, change: PolicyChange) -> None:
    from shared.errors import InvalidPolicy

    if "trash" in (change.action or found.action) and (change.wait_for or found.wait_for) == "settled":
        raise InvalidPolicy("trash always waits until every file is stored; use --wait-for stored")


def _print(found: TenantOverview) -> None:
    from console.cli.output import print_facts
    from console.cli.times import spoken, stamp

    connected = f"{found.connection}, version {found.connection_version}" if found.connection else "none"
    rows = [
        ("tenant", found.name),
        ("company", found.company_id),
        ("connection", connected),
        ("connected", stamp(found.connected_at) if found.connected_at else "never"),
        (
            "parked",
            f"{found.parked_cause} since {stamp(found.parked_at)}" if found.parked_cause and found.parked_at else "no",
        ),
        ("users", found.users),
        ("action", found.action + (" when a recipient is a user" if found.only_when_matched else " always")),
        ("waits for files", found.wait_for),
        ("acts within", spoken(found.act_within.total_seconds())),
        ("folds +tags", "yes" if found.fold_plus else "no"),
    ]
    print_facts(rows)
