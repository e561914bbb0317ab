"""`mailroom api-token`: make, list and revoke the tokens that the REST API accepts."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import click

from console.cli.commands import NothingMatched
from console.cli.options import Duration, database, database_to_change, find_tenant, json_option
from console.cli.output import print_json, print_table, say, say_if_empty
from console.times import format_time
from shared.text import without_joiners

if TYPE_CHECKING:
    from shared.db.tenants.api_tokens import ApiToken, Scope

LONGEST_NAME = 100  # characters
MAY = {"read": "read", "write": "write", "messages": "read messages and files of"}


@click.group("api-token")
def api_token() -> None:
    """Make, list and revoke tokens for the REST API."""


@api_token.command()
@click.argument("name")
@click.option(
    "--scope",
    type=click.Choice(("read", "write", "messages")),
    default="read",
    show_default=True,
    help="What it may do.",
)
@click.option("--tenant", metavar="T", help="Only this tenant (name or company id); the token sees no other.")
@click.option("--expires", "valid_for", type=Duration(), help="How long it is valid; for ever without.")
@json_option
def create(name: str, scope: Scope, tenant: str | None, valid_for: timedelta | None, as_json: bool) -> None:
    """Make a token and print it once; nobody can read it again.

    Example: mailroom api-token create nightly-sync --scope write --tenant Acme --expires 90d
    """
    from console.issued_secrets import digest_of, new_api_token
    from shared.db.tenants import api_tokens

    if not name.strip() or not without_joiners(name).isprintable() or len(name) > LONGEST_NAME:
        raise click.UsageError(f"a token's name is up to {LONGEST_NAME} printable characters")
    token = new_api_token()
    with database_to_change() as conn:
        new = api_tokens.NewApiToken(
            name=name,
            digest=digest_of(token),
            scope=scope,
            tenant_id=find_tenant(conn, tenant).id if tenant else None,
            valid_for=valid_for,
        )
        api_tokens.add(conn, new)
    say(f"{name} may {MAY[scope]} {tenant or 'every tenant'}; this is the only time its token is shown")
    if as_json:
        print_json({"name": name, "token": token})
    else:
        click.echo(token)


@api_token.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List all tokens by name; the tokens themselves are not stored."""
    from shared.db.tenants import api_tokens

    with database() as conn:
        found = api_tokens.list_all(conn)
    if as_json:
        print_json(found)
        return
    print_table(("name", "may", "tenant", "state", "last used", "expires"), map(_row, found))
    say_if_empty(found, "API tokens")


def _row(token: ApiToken) -> tuple[object, ...]:
    times = (at and format_time(at) for at in (token.last_used_at, token.expires_at))
    return token.name, token.scope, token.tenant or "every tenant", token.state, *times


@api_token.command()
@click.argument("name")
def revoke(name: str) -> None:
    """Refuse a token from now on."""
    from shared.db.tenants import api_tokens

    with database_to_change() as conn:
        revoked = api_tokens.revoke(conn, name)
    if not revoked:
        raise NothingMatched(f"no token in use is called {name!r}; `mailroom api-token list` lists all")
    click.echo(f"revoked {name}")
