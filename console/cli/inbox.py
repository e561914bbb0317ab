"""`mailroom inbox`: who stands for a tenant's shared inboxes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from console.cli.options import json_option, tenant_option

if TYPE_CHECKING:
    from shared.db.users.users import Address

user_option = click.option("--user", metavar="ID", help="Your own id of the user.")
nobody_option = click.option("--nobody", is_flag=True, help="Nobody.")


@click.group()
def inbox() -> None:
    """Say who stands for shared inboxes: mail to their addresses is matched with that user."""


@inbox.command("list")
@tenant_option
@json_option
def list_(tenant: str, as_json: bool) -> None:
    """List the addresses of a tenant's shared inboxes, who stands for each, and the default owner."""
    from console.cli.options import database, the_tenant
    from console.cli.output import print_json, print_table, say_when_none
    from shared.db.users import directory

    with database() as conn:
        tenant_id = the_tenant(conn, tenant).id
        found, owner = directory.inbox_addresses(conn, tenant_id), directory.default_owner(conn, tenant_id)
    if as_json:
        print_json({"default_owner": owner, "addresses": found})
        return
    say_when_none(found, "addresses; `mailroom tenant sync-inboxes` takes them in from Front")
    rows = [(each.address, each.inbox, each.user, "inactive" if each.user_active is False else None) for each in found]
    print_table(("address", "inbox", "user", ""), rows)
    click.echo(f"default owner: {f'user {owner}' if owner else 'nobody'}")


@inbox.command("map")
@click.argument("address")
@tenant_option
@user_option
@nobody_option
def map_(address: str, tenant: str, user: str | None, nobody: bool) -> None:
    """Have a user stand for an address, or nobody of its own; an address that is not known yet is added.

    Example: mailroom inbox map support@acme.example --tenant Acme --user 17
    """
    from console.cli.options import database, no_such_user, the_tenant
    from shared.db.users import directory

    given, chosen = _address(address), _chosen(user, nobody=nobody)
    with database() as conn:
        if not directory.map_inbox_address(conn, the_tenant(conn, tenant).id, given, chosen):
            raise no_such_user(chosen)
    click.echo(f"{address} → user {chosen}" if chosen else f"{address} → the default owner")


@inbox.command()
@tenant_option
@user_option
@nobody_option
def default(tenant: str, user: str | None, nobody: bool) -> None:
    """Set who stands for every shared inbox that has no active user of its own.

    Example: mailroom inbox default --tenant Acme --user 7
    """
    from console.cli.options import database, no_such_user, the_tenant
    from shared.db.users import directory

    chosen = _chosen(user, nobody=nobody)
    with database() as conn:
        if not directory.set_default_owner(conn, the_tenant(conn, tenant).id, chosen):
            raise no_such_user(chosen)
    click.echo(f"default owner: {f'user {chosen}' if chosen else 'nobody'}")


@inbox.command()
@click.argument("address")
@tenant_option
def remove(address: str, tenant: str) -> None:
    """Forget an address; the next sync brings it back where Front has it."""
    from console.cli.commands import NothingMatched
    from console.cli.options import database, the_tenant
    from shared.db.users import directory

    with database() as conn:
        if not directory.remove_inbox_addresses(conn, the_tenant(conn, tenant).id, [_address(address).key]):
            raise NothingMatched(f"no shared inbox of {tenant} has {address}; `mailroom inbox list` names all")
    click.echo(f"removed {address}")


def _address(given: str) -> Address:
    from shared.addresses import match_key
    from shared.db.users.users import Address

    key = match_key(given)
    if key is None:
        raise click.UsageError(f"{given!r} is no address")
    return Address(key=key, as_given=given.strip())


def _chosen(user: str | None, *, nobody: bool) -> str | None:
    if (user is None) != nobody:
        raise click.UsageError("say either --user ID or --nobody")
    return user
