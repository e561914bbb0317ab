"""`mailroom admin`: who may log in to the console, and with which role."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from console.cli.options import database, json_option, operator_name
from console.cli.output import print_json, print_table, say, say_if_empty
from console.times import format_time

if TYPE_CHECKING:
    from console.access.actor import Actor
    from shared.db.accounts.accounts import Account, Role
    from shared.db.core.pool import Connection

role_option = click.option(
    "--role",
    type=click.Choice(("viewer", "operator", "admin")),
    default="admin",
    show_default=True,
    help="A viewer looks, an operator mends, an admin does everything.",
)
email_argument = click.argument("email", metavar="E-MAIL")


@click.group()
def admin() -> None:
    """Add people who may log in to the console; disable them, give them links and roles."""


@admin.command()
@email_argument
@click.option("--name", default="", help="The person's name.")
@role_option
@json_option
def add(email: str, name: str, role: Role, as_json: bool) -> None:
    """Let somebody log in, and print a link with which they set their password. It works once, for two days.

    Example: mailroom admin add jane@example.com --role operator
    """
    from console.operations import accounts as operations
    from console.operations.audited import in_transaction

    with database() as conn:
        operations.add_account(in_transaction(conn), _actor(), email=email, name=name, role=role)
        _print_link(conn, operations.require_account(conn, email.strip()), as_json=as_json)


@admin.command()
@email_argument
@json_option
def link(email: str, as_json: bool) -> None:
    """Print a new link with which somebody sets their password. It works once, for two days."""
    from console.operations.accounts import require_account

    with database() as conn:
        _print_link(conn, require_account(conn, email), as_json=as_json)


@admin.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List everybody who may log in, and those who no longer may."""
    from shared.db.accounts import accounts

    with database() as conn:
        found = accounts.list_all(conn)
    if as_json:
        print_json(found)
        return
    rows = [(a.email, a.name, a.role, _state(a), a.last_login_at and format_time(a.last_login_at)) for a in found]
    print_table(("e-mail", "name", "role", "state", "last log-in"), rows)
    say_if_empty(found, "accounts")


@admin.command("set-role")
@email_argument
@click.argument("role", type=click.Choice(("viewer", "operator", "admin")))
def set_role(email: str, role: Role) -> None:
    """Give somebody another role."""
    from console.operations import accounts as operations
    from console.operations.audited import in_transaction

    with database() as conn:
        operations.set_role(in_transaction(conn), _actor(), operations.require_account(conn, email), role)
    click.echo(f"{email} is {role} now")


@admin.command()
@email_argument
def disable(email: str) -> None:
    """Keep somebody from logging in, and log them out everywhere."""
    _set_enabled(email, enabled=False)
    click.echo(f"{email} can no longer log in")


@admin.command()
@email_argument
def enable(email: str) -> None:
    """Let somebody log in again."""
    _set_enabled(email, enabled=True)
    click.echo(f"{email} can log in again")


@admin.command()
@email_argument
def unbind(email: str) -> None:
    """Release somebody from their identity at the OpenID provider, and log them out everywhere.

    Their next log-in there binds the account anew, by its e-mail address.
    """
    from console.operations import accounts as operations
    from console.operations.audited import in_transaction

    with database() as conn:
        operations.unbind_identity(in_transaction(conn), _actor(), operations.require_account(conn, email))
    click.echo(f"{email} is bound to no identity of an OpenID provider now")


def _set_enabled(email: str, *, enabled: bool) -> None:
    from console.operations import accounts as operations
    from console.operations.audited import in_transaction

    with database() as conn:
        account = operations.require_account(conn, email)
        operations.set_enabled(in_transaction(conn), _actor(), account, enabled=enabled)


def _print_link(conn: Connection, account: Account, *, as_json: bool) -> None:
    from console.operations.accounts import make_link
    from console.operations.audited import in_transaction
    from shared.settings import load

    new = make_link(in_transaction(conn), _actor(), account)
    url = f"{load().public_url}{new.path}"
    if as_json:
        print_json({"email": account.email, "role": account.role, "link": url, "expires_at": new.expires_at})
        return
    say(
        f"{account.email} is {account.role}; the link sets the password, good once, until {format_time(new.expires_at)}"
    )
    click.echo(url)


def _state(account: Account) -> str:
    if not account.is_enabled:
        return "disabled"
    return "enabled" if account.has_password or account.oidc_issuer else "has to set a password"


def _actor() -> Actor:
    from console.access.actor import command_line_actor

    return command_line_actor(operator_name())
