"""Make the secrets that are shown once: API tokens, and links with which an admin connects a tenant."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from shared.db.tenants import consent
from shared.errors import ConfigurationError

if TYPE_CHECKING:
    from shared.db.core.pool import Connection
    from shared.settings import Settings

PREFIX = "mr_"  # people and secret scanners recognize a token by it
LINK_VALID_FOR = timedelta(days=7)
OAUTH_SETTINGS = ("FRONT_CLIENT_ID", "FRONT_CLIENT_SECRET")


@dataclass(frozen=True, kw_only=True)
class NewLink:
    """A link as it is given out; its URL cannot be read again."""

    url: str
    expires_at: datetime


def new_api_token() -> str:
    """Make a random API token."""
    return PREFIX + secrets.token_urlsafe(32)


def new_link(
    conn: Connection,
    settings: Settings,
    tenant_id: int,
    *,
    valid_for: timedelta = LINK_VALID_FOR,
    company_id: str | None = None,
) -> NewLink:
    """Make a link that connects this tenant, and end its older links. With a `company_id` it connects no other company.

    Raises ConfigurationError without OAuth app, and OtherCompany.
    """
    require_oauth_app(settings)
    token = secrets.token_urlsafe(32)
    with conn.transaction():
        expires_at = consent.add_link(conn, tenant_id, digest_of(token), valid_for=valid_for, company_id=company_id)
    return NewLink(url=f"{settings.connect_origin}/connect/{token}", expires_at=expires_at)


def digest_of(token: str) -> bytes:
    """Return the digest by which a secret is stored and looked up: the timing of a look-up tells nothing about it."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def require_oauth_app(settings: Settings) -> None:
    """Raise ConfigurationError unless client id and secret of the Front app are set: no link could work."""
    if missing := missing_oauth_settings(settings):
        raise ConfigurationError(
            f"{', '.join(missing)} not set: copy client id and secret from the Front app's OAuth page; "
            "or connect a tenant with --api-token-file FILE"
        )


def missing_oauth_settings(settings: Settings) -> list[str]:
    """Return which of OAUTH_SETTINGS are not set."""
    values = (settings.front_client_id, settings.front_client_secret.get_secret_value())
    return [name for name, value in zip(OAUTH_SETTINGS, values, strict=True) if not value]
