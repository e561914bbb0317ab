"""API tokens: who may use the REST API, for which tenant, and until when. Only digests of the tokens are stored."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from psycopg.rows import class_row

from shared.errors import MailroomError

if TYPE_CHECKING:
    from shared.db.core.pool import Connection


Scope = Literal["read", "write", "messages"]
State = Literal["valid", "expired", "revoked"]


class TokenNameTaken(MailroomError):
    """A token that is not revoked has this name already."""

    code = "token_name_taken"


@dataclass(frozen=True, kw_only=True)
class NewApiToken:
    """A token to add; without a `tenant_id` it is valid for every tenant."""

    name: str
    digest: bytes
    scope: Scope
    tenant_id: int | None
    valid_for: timedelta | None


@dataclass(frozen=True, kw_only=True)
class ApiToken:
    """A token as people see it; `last_used_at` is accurate to a minute."""

    name: str
    scope: Scope
    tenant: str | None
    state: State
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Bearer:
    """The sender of a request, identified by its token."""

    id: int
    name: str
    scope: Scope
    tenant_id: int | None
    state: State


STATE = """
    CASE WHEN t.revoked_at IS NOT NULL THEN 'revoked' WHEN t.expires_at <= now() THEN 'expired' ELSE 'valid' END
"""


def add(conn: Connection, token: NewApiToken) -> None:
    """Add a token. Raises TokenNameTaken."""
    row = conn.execute(
        """
        INSERT INTO api_tokens (name, digest, scope, tenant_id, expires_at)
        VALUES (%(name)s, %(digest)s, %(scope)s, %(tenant_id)s, now() + %(valid_for)s)
        ON CONFLICT (name) WHERE revoked_at IS NULL DO NOTHING RETURNING id
        """,
        vars(token),
    ).fetchone()
    if row is None:
        raise TokenNameTaken(f"there is a token {token.name!r} in use; revoke it or choose another name")


def list_all(conn: Connection) -> list[ApiToken]:
    """Return all tokens sorted by name, revoked ones last."""
    with conn.cursor(row_factory=class_row(ApiToken)) as cursor:
        return cursor.execute(
            f"""
            SELECT t.name, t.scope, o.name AS tenant, {STATE} AS state, t.created_at,
                t.last_used_at, t.expires_at, t.revoked_at
            FROM api_tokens t LEFT JOIN tenants o ON o.id = t.tenant_id
            ORDER BY t.revoked_at IS NOT NULL, t.name, t.id DESC
            """  # noqa: S608 -- a constant of ours
        ).fetchall()


def revoke(conn: Connection, name: str) -> bool:
    """Revoke the token with this name. False if there is none, or it is revoked already."""
    cursor = conn.execute("UPDATE api_tokens SET revoked_at = now() WHERE name = %s AND revoked_at IS NULL", (name,))
    return cursor.rowcount == 1


def find_bearer(conn: Connection, digest: bytes) -> Bearer | None:
    """Return the bearer of the token with this digest, whatever its state. Notes the use at most once a minute."""
    with conn.cursor(row_factory=class_row(Bearer)) as cursor:
        found = cursor.execute(
            f"SELECT t.id, t.name, t.scope, t.tenant_id, {STATE} AS state FROM api_tokens t WHERE t.digest = %s",  # noqa: S608 -- a constant of ours
            (digest,),
        ).fetchone()
    if found and found.state == "valid":
        conn.execute(
            "UPDATE api_tokens SET last_used_at = now() "
            "WHERE id = %s AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')",
            (found.id,),
        )
    return found
