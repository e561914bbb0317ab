"""`mailroom tenant add`: who the tenants are."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

import click

TokenFile = click.Path(exists=True, dir_okay=False, path_type=Path)
token_file_option = click.option("--api-token-file", "token_file", type=TokenFile, help="A file with the API token.")
no_check_option = click.option("--no-check", is_flag=True, help="Do not ask Front whose token it is.")


@click.command()
@click.argument("name")
@click.option("--company", metavar="cmp_…", help="Front's id of the company, where it is known before connecting.")
@click.option("--customer", metavar="ID", help="Your own id of the customer; several tenants may have the same.")
@token_file_option
@no_check_option
def add(name: str, company: str | None, customer: str | None, token_file: Path | None, no_check: bool) -> None:
    """Add a tenant: one for each Front company. With a token it is connected at once.

    Example: mailroom tenant add Acme --customer 4711, then mailroom tenant connect Acme
    """
    from console.cli.connecting import check_names, company_of, seal_and_store, token_in
    from console.cli.database import database
    from shared.db import tenants

    check_names(name, company, customer)
    token = token_in(token_file) if token_file else None
    if token:
        company = company_of(token, known=company, check=not no_check)
    with database() as conn, conn.transaction():
        tenant_id = tenants.add(conn, name, company, customer=customer)
        if token:
            seal_and_store(conn, tenant_id, token)
    whose = f" for {company}" if company else ""
    click.echo(f"added {name}{whose}" + ("" if token else f"; connect it with `mailroom tenant connect {quote(name)}`"))
