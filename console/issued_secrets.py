"""Makes the link that an admin of a customer opens to connect its tenant, and knows it again."""

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


PREFIX = "mr_"  # so that people and secret scanners see what it is

VALID_FOR = timedelta(days=7)


def new_token() -> str:
    """A token nobody has."""
    return PREFIX + secrets.token_urlsafe(32)


def digest_of(token: str) -> bytes:
    """What is stored and looked up: the look-up's timing tells about a digest, which says nothing about a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


@dataclass(frozen=True, kw_only=True)
class NewLink:
    """A link as it is given out, the only time that it can be read."""

    url: str
    expires_at: datetime


def new_link(conn: Connection, settings: Settings, tenant_id: int, *, valid_for: timedelta = VALID_FOR) -> NewLink:
    """A link for this tenant; older ones of it end. Raises ConfigurationError without an OAuth client."""
    require_app(settings)
    token = secrets.token_urlsafe(32)
    with conn.transaction():
        expires_at = consent.add_link(conn, tenant_id, digest_of(token), valid_for=valid_for)
    return NewLink(url=f"{settings.public_url}/connect/{token}", expires_at=expires_at)


def require_app(settings: Settings) -> None:
    """Raise ConfigurationError unless Front knows our app: no link could work."""
    given = {
        "FRONT_CLIENT_ID": settings.front_client_id,
        "FRONT_CLIENT_SECRET": settings.front_client_secret.get_secret_value(),
    }
    if missing := [name for name, value in given.items() if not value]:
        raise ConfigurationError(
            f"{', '.join(missing)} not set: copy client id and secret from the Front app's OAuth page; "
            "or connect a tenant with --api-token-file FILE"
        )
