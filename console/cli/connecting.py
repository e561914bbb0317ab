"""Takes a token from a file, asks Front whose it is, and stores it sealed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from console.naming import is_name
from shared.crypto import TokenVault
from shared.db import connections
from shared.db.tenants import LONGEST_NAME
from shared.errors import FrontUnavailable, MailroomError, NeedsReconnect
from shared.front.ids import COMPANY
from shared.means import front_client
from shared.models import Token
from shared.settings import load

if TYPE_CHECKING:
    from pathlib import Path

    from shared.db.pool import Connection

TOKEN = re.compile(r"[\x21-\x7e]{8,8192}")


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
