"""`mailroom tenant add` and `connect`: with a link for an admin of the customer, or at once with an API token."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

import click

from console.cli.options import Duration, act_as_user, database, database_to_change, find_tenant, json_option
from console.cli.output import print_json, say
from console.times import format_time
from shared.errors import FrontUnavailable, MailroomError, NeedsReconnect

if TYPE_CHECKING:
    from shared.db.core.pool import Connection

API_TOKEN = re.compile(r"[\x21-\x7e]{8,8192}")

TokenFile = click.Path(exists=True, dir_okay=False, path_type=Path)
token_file_option = click.option("--api-token-file", "token_file", type=TokenFile, help="A file with the API token.")
no_check_option = click.option("--no-check", is_flag=True, help="Do not ask Front whose token it is.")


class WrongToken(MailroomError):
    """The token belongs to another company, or Front does not accept it."""

    code = "wrong_token"


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
    from shared.db.tenants import tenants

    _check_names(name, company, customer)
    token = _read_token(token_file) if token_file else None
    if token:
        company = _company_of(token, expected=company, check=not no_check)
    with database_to_change() as conn:
        tenant_id = tenants.add(conn, name, company, customer=customer)
        if token:
            seal_and_store(conn, tenant_id, token)
    for_company = f" for {company}" if company else ""
    hint = "" if token else f"; connect it with `mailroom tenant connect {quote(name)}`"
    click.echo(f"added {name}{for_company}{hint}")


def _check_names(name: str, company_id: str | None, customer: str | None) -> None:
    from shared.db.tenants.tenants import LONGEST_NAME, is_name

    for what, value in (("tenant's name", name), ("customer's id", customer)):
        if value is not None and not is_name(value):
            raise click.UsageError(f"a {what} is up to {LONGEST_NAME} printable characters")
    _check_company(company_id)


def _check_company(company_id: str | None) -> None:
    from shared.front.envelope import COMPANY

    if company_id is not None and not COMPANY.fullmatch(company_id):
        raise click.UsageError(f"--company {company_id!r} is no company id; Front's look like cmp_4k2p9")


@click.command()
@click.argument("name")
@click.option("--valid", "valid_for", type=Duration(), default="7d", show_default=True, help="How long the link works.")
@click.option("--company", metavar="cmp_…", help="The Front company that you expect; another one is refused.")
@token_file_option
@no_check_option
@json_option
def connect(  # noqa: PLR0913, PLR0917 -- one parameter an option
    name: str, valid_for: timedelta, company: str | None, token_file: Path | None, no_check: bool, as_json: bool
) -> None:
    """Print the link with which an admin of the customer connects Front; the tenant's older links end.

    With a token file connect the tenant at once instead. Work that waited for the connection goes on by itself.
    Example: mailroom tenant connect Acme --valid 2d --company cmp_4k2p9
    """
    if not valid_for:
        raise click.UsageError("--valid must be longer than nothing")
    _check_company(company)
    if token_file:
        _connect_with_token(name, token_file, company, check=not no_check)
    else:
        _print_link(name, valid_for, company, as_json=as_json)


def _connect_with_token(name: str, token_file: Path, expected: str | None, *, check: bool) -> None:
    from shared.db.tenants import consent

    with database() as conn:
        tenant = find_tenant(conn, name)
        token = _read_token(token_file)
        if expected and tenant.company_id not in {None, expected}:
            raise consent.OtherCompany(f"{tenant.name} has the company {tenant.company_id}, not {expected}")
        company = _company_of(token, expected=expected or tenant.company_id, check=check)
        with conn.transaction():
            act_as_user(conn)
            consent.bind_company(conn, tenant.id, company)
            version = seal_and_store(conn, tenant.id, token)
    click.echo(f"connected {tenant.name} (token version {version})")


def _print_link(name: str, valid_for: timedelta, company: str | None, *, as_json: bool) -> None:
    from console.issued_secrets import new_link
    from shared.settings import load

    settings = load()
    with database_to_change() as conn:
        tenant = find_tenant(conn, name)
        link = new_link(conn, settings, tenant.id, valid_for=valid_for, company_id=company)
    if as_json:
        print_json({"tenant": tenant.name, "url": link.url, "expires_at": link.expires_at})
        return
    say(f"for an admin of {tenant.name} in Front; works once, until {format_time(link.expires_at)} UTC:")
    click.echo(link.url)


def _read_token(file: Path) -> str:
    token = file.read_text(encoding="utf-8", errors="replace").strip()
    if not API_TOKEN.fullmatch(token):
        raise click.UsageError(f"{file} does not hold one API token and nothing else")
    return token


def _company_of(token: str, *, expected: str | None, check: bool) -> str:
    """Return the company that owns the token: ask Front with `check`, else trust `expected`.

    Raises WrongToken when Front names another company than `expected`, and UsageError when neither is known.
    """
    if check:
        return _ask_front(token, expected)
    if expected is None:
        raise click.UsageError("with --no-check nobody says whose token it is: give the tenant its --company")
    return expected


def _ask_front(access_token: str, expected: str | None) -> str:
    from shared.connection.tokens import front_client
    from shared.models import Token
    from shared.settings import load

    settings = load("redis_url")
    token = Token(tenant_id=0, company_id=expected or "", version=0, access_token=access_token)
    try:
        owner = front_client(settings).for_tenant(token).me()
    except NeedsReconnect:
        raise WrongToken("Front does not accept this token; make a new one and try again") from None
    except FrontUnavailable as error:
        raise FrontUnavailable(f"{error}; nothing was changed (--no-check stores the token unasked)") from error
    if expected not in {None, owner.company_id}:
        raise WrongToken(f"the token belongs to {owner.company_id} ({owner.name}), not to {expected}")
    return owner.company_id


def seal_and_store(conn: Connection, tenant_id: int, token: str) -> int:
    """Connect the tenant with an API token, and return the connection's new version."""
    from shared.connection.vault import TokenVault
    from shared.db.tenants import connections
    from shared.settings import load

    vault = TokenVault(load("token_keys").token_keys)
    return connections.connect(conn, tenant_id, kind="api_token", secret=vault.seal(tenant_id, {"access_token": token}))
