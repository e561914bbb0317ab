"""`mailroom tenant add` and `connect`: who the tenants are, and their tokens."""

from __future__ import annotations

from pathlib import Path

import click

TokenFile = click.Path(exists=True, dir_okay=False, path_type=Path)
token_file_option = click.option("--api-token-file", "token_file", type=TokenFile, help="A file with the API token.")
no_check_option = click.option("--no-check", is_flag=True, help="Do not ask Front whose token it is.")


@click.command()
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


@click.command()
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
