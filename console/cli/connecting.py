"""Takes a token from a file, asks Front whose it is, and stores it sealed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from shared.crypto import TokenVault
from shared.db import connections, tenants
from shared.errors import FrontUnavailable, MailroomError, NeedsReconnect
from shared.means import front_client
from shared.models import Token
from shared.settings import load

if TYPE_CHECKING:
    from pathlib import Path

    from shared.db.pool import Connection

COMPANY = re.compile(r"cmp_[A-Za-z0-9]{1,60}")
TOKEN = re.compile(r"[\x21-\x7e]{8,8192}")


class WrongToken(MailroomError):
    """The token does not belong to this company, or Front does not take it."""

    code = "wrong_token"


def check_names(name: str, company_id: str) -> None:
    """Refuse what cannot be a tenant's name or one of Front's company ids."""
    if not name.strip() or not name.isprintable() or len(name) > tenants.LONGEST_NAME:
        raise click.UsageError(f"a tenant's name is up to {tenants.LONGEST_NAME} printable characters")
    if not COMPANY.fullmatch(company_id):
        raise click.UsageError(f"--company {company_id!r} is no company id; Front's look like cmp_4k2p9")


def token_in(file: Path, *, company: str | None) -> str:
    """The token a file holds; with `company` only if Front says that it belongs to that company."""
    token = file.read_text(encoding="utf-8", errors="replace").strip()
    if not TOKEN.fullmatch(token):
        raise click.UsageError(f"{file} does not hold one API token and nothing else")
    if company is not None:
        _check_owner(token, company)
    return token


def seal_and_store(conn: Connection, tenant_id: int, token: str) -> int:
    """Connect the tenant with an API token; gives the connection's new version."""
    vault = TokenVault(load().require("token_keys").token_keys)
    return connections.connect(conn, tenant_id, kind="api_token", secret=vault.seal(tenant_id, {"access_token": token}))


def _check_owner(access_token: str, company_id: str) -> None:
    settings = load().require("redis_url")
    token = Token(tenant_id=0, company_id=company_id, version=0, access_token=access_token)
    try:
        owner = front_client(settings).for_tenant(token).me()
    except NeedsReconnect:
        raise WrongToken("Front does not accept this token; make a new one and try again") from None
    except FrontUnavailable as error:
        raise FrontUnavailable(f"{error}; nothing was changed (--no-check stores the token unasked)") from error
    if owner.company_id != company_id:
        raise WrongToken(f"the token belongs to {owner.company_id} ({owner.name}), not to {company_id}")
