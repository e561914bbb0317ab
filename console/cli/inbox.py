"""`mailroom inbox`: map the addresses of a tenant's shared inboxes to users."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from console.cli.commands import NothingMatched
from console.cli.options import database, database_to_change, find_tenant, json_option, tenant_option, unknown_user
from console.cli.output import print_json, print_table, say_if_empty

if TYPE_CHECKING:
    from shared.db.users.users import Address

user_option = click.option("--user", metavar="ID", help="Your own id of the user.")
nobody_option = click.option("--nobody", is_flag=True, help="Nobody.")


@click.group()
def inbox() -> None:
    """Map shared inboxes to users: mail to their addresses is matched with that user."""


@inbox.command("list")
@tenant_option
@json_option
def list_(tenant: str, as_json: bool) -> None:
    """List the addresses of a tenant's shared inboxes, the user of each, and the default owner."""
    from shared.db.users import directory

    with database() as conn:
        tenant_id = find_tenant(conn, tenant).id
        found, owner = directory.inbox_addresses(conn, tenant_id), directory.default_owner(conn, tenant_id)
    if as_json:
        print_json({"default_owner": owner, "addresses": found})
        return
    say_if_empty(found, "addresses; `mailroom tenant sync-inboxes` takes them in from Front")
    rows = [(each.address, each.inbox, each.user, "inactive" if each.user_active is False else None) for each in found]
    print_table(("address", "inbox", "user", ""), rows)
    click.echo(f"default owner: {f'user {owner}' if owner else 'nobody'}")


@inbox.command("map")
@click.argument("address")
@tenant_option
@user_option
@nobody_option
def map_(address: str, tenant: str, user: str | None, nobody: bool) -> None:
    """Map an address to a user, or with --nobody to the default owner; an unknown address is added.

    Example: mailroom inbox map support@acme.example --tenant Acme --user 17
    """
    from shared.db.users import directory

    parsed, user_id = _address(address), _user_id(user, nobody=nobody)
    with database_to_change() as conn:
        if not directory.map_inbox_address(conn, find_tenant(conn, tenant).id, parsed, user_id):
            raise unknown_user(user_id)
    click.echo(f"{parsed.as_given} → user {user_id}" if user_id else f"{parsed.as_given} → the default owner")


@inbox.command()
@tenant_option
@user_option
@nobody_option
def default(tenant: str, user: str | None, nobody: bool) -> None:
    """Set the default owner: the user of every shared inbox that is mapped to no active user.

    Example: mailroom inbox default --tenant Acme --user 7
    """
    from shared.db.users import directory

    user_id = _user_id(user, nobody=nobody)
    with database_to_change() as conn:
        if not directory.set_default_owner(conn, find_tenant(conn, tenant).id, user_id):
            raise unknown_user(user_id)
    click.echo(f"default owner: {f'user {user_id}' if user_id else 'nobody'}")


@inbox.command()
@click.argument("address")
@tenant_option
def remove(address: str, tenant: str) -> None:
    """Forget an address; the next sync brings it back while Front has it."""
    from shared.db.users import directory

    with database_to_change() as conn:
        if not directory.remove_inbox_addresses(conn, find_tenant(conn, tenant).id, [_address(address).key]):
            raise NothingMatched(f"no shared inbox of {tenant} has {address}; `mailroom inbox list` lists all")
    click.echo(f"removed {address}")


def _address(text: str) -> Address:
    from shared.addresses import bare_address, match_key
    from shared.db.users.users import Address

    key = match_key(text)
    if key is None:
        raise click.UsageError(f"{text!r} is no address")
    return Address(key=key, as_given=bare_address(text))


def _user_id(user: str | None, *, nobody: bool) -> str | None:
    if (user is None) != nobody:
        raise click.UsageError("say either --user ID or --nobody")
    return user
