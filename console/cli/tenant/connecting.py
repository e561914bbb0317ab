"""`mailroom tenant connect`: a link for the customer's admin, or an API token."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import click

from console.cli.options import Duration, json_option
from console.cli.tenant.adding import no_check_option, token_file_option


@click.command()
@click.argument("name")
@click.option("--valid", "valid_for", type=Duration(), default="7d", show_default=True, help="How long the link works.")
@token_file_option
@no_check_option
@json_option
def connect(name: str, valid_for: timedelta, token_file: Path | None, no_check: bool, as_json: bool) -> None:
    """Print the link with which an admin of the customer connects Front; the tenant's older links end.

    With a token file connect the tenant at once instead. What waited for the connection goes on by itself.
    Example: mailroom tenant connect Acme --valid 2d
    """
    if not valid_for:
        raise click.UsageError("--valid must be longer than nothing")
    if token_file:
        _with_token(name, token_file, check=not no_check)
    else:
        _with_link(name, valid_for, as_json=as_json)


def _with_token(name: str, token_file: Path, *, check: bool) -> None:
    from console.cli.connecting import company_of, seal_and_store, token_in
    from console.cli.database import database, the_tenant
    from shared.db import binding

    with database() as conn:
        found = the_tenant(conn, name)
        token = token_in(token_file)
        company = company_of(token, known=found.company_id, check=check)
        with conn.transaction():
            binding.bind(conn, found.id, company)
            version = seal_and_store(conn, found.id, token)
    click.echo(f"connected {found.name} (token version {version})")


def _with_link(name: str, valid_for: timedelta, *, as_json: bool) -> None:
    from console.cli.database import database, the_tenant
    from console.cli.output import print_json, say
    from console.cli.times import stamp
    from console.connect_links import new_link
    from shared.settings import load

    settings = load()
    with database() as conn:
        found = the_tenant(conn, name)
        link = new_link(conn, settings, found.id, valid_for=valid_for)
    if as_json:
        print_json({"tenant": found.name, "url": link.url, "expires_at": link.expires_at})
        return
    say(f"for an admin of {found.name} in Front; works once, until {stamp(link.expires_at)} UTC:")
    click.echo(link.url)
