"""Takes a token from a file, asks Front whose it is, and stores it sealed."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

import click

from console.cli.options import Duration, json_option
from shared.connection.tokens import front_client
from shared.connection.vault import TokenVault
from shared.db.tenants import connections
from shared.db.tenants.tenants import LONGEST_NAME, is_name
from shared.errors import FrontUnavailable, MailroomError, NeedsReconnect
from shared.front.envelope import COMPANY
from shared.models import Token
from shared.settings import load

if TYPE_CHECKING:
    from shared.db.core.pool import Connection


TOKEN = re.compile(r"[\x21-\x7e]{8,8192}")

TokenFile = click.Path(exists=True, dir_okay=False, path_type=Path)
token_file_option = click.option("--api-token-file", "token_file", type=TokenFile, help="A file with the API token.")
no_check_option = click.option("--no-check", is_flag=True, help="Do not ask Front whose token it is.")


class WrongToken(MailroomError):
    """The token does not belong to this company, or Front does not take it."""

    code = "wrong_token"


def check_names(name: str, company_id: str | None, customer: str | None) -> None:
    """Refuse what cannot be a tenant's name, one of Front's company ids, or an id of the caller's own."""
    for what, value in (("tenant's name", name), ("customer's id", customer)):
        if value is not None and not is_name(value):
            raise click.UsageError(f"a {what} is up to {LONGEST_NAME} printable characters")
    if company_id is not None and not COMPANY.fullmatch(company_id):
        raise click.UsageError(f"--company {company_id!r} is no company id; Front's look like cmp_4k2p9")


def token_in(file: Path) -> str:
    """The token a file holds."""
    token = file.read_text(encoding="utf-8", errors="replace").strip()
    if not TOKEN.fullmatch(token):
        raise click.UsageError(f"{file} does not hold one API token and nothing else")
    return token


def company_of(token: str, *, known: str | None, check: bool) -> str:
    """The company that the token is of: as Front says, which must be `known` if it is; unasked, what is known."""
    if check:
        return _owner(token, known)
    if known is None:
        raise click.UsageError("with --no-check nobody says whose token it is: give the tenant its --company")
    return known


def seal_and_store(conn: Connection, tenant_id: int, token: str) -> int:
    """Connect the tenant with an API token; gives the connection's new version."""
    vault = TokenVault(load().require("token_keys").token_keys)
    return connections.connect(conn, tenant_id, kind="api_token", secret=vault.seal(tenant_id, {"access_token": token}))


def _owner(access_token: str, known: str | None) -> str:
    settings = load().require("redis_url")
    token = Token(tenant_id=0, company_id=known or "", version=0, access_token=access_token)
    try:
        owner = front_client(settings).for_tenant(token).me()
    except NeedsReconnect:
        raise WrongToken("Front does not accept this token; make a new one and try again") from None
    except FrontUnavailable as error:
        raise FrontUnavailable(f"{error}; nothing was changed (--no-check stores the token unasked)") from error
    if known not in {None, owner.company_id}:
        raise WrongToken(f"the token belongs to {owner.company_id} ({owner.name}), not to {known}")
    return owner.company_id


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
    # DROPPED
    from console.cli.options import database
    from shared.db.tenants import tenants

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
    # DROPPED
    from console.cli.options import database, the_tenant
    from shared.db.tenants import consent

    with database() as conn:
        found = the_tenant(conn, name)
        token = token_in(token_file)
        company = company_of(token, known=found.company_id, check=check)
        with conn.transaction():
            consent.bind_company(conn, found.id, company)
            version = seal_and_store(conn, found.id, token)
    click.echo(f"connected {found.name} (token version {version})")


def _with_link(name: str, valid_for: timedelta, *, as_json: bool) -> None:
    from console.cli.options import database, the_tenant
    from console.cli.output import print_json, say
    from console.cli.times import stamp
    from console.issued_secrets import new_link
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
