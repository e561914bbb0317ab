"""Answers of the REST API that are kept for a day, so that a request that is sent again creates nothing more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg.types.json import Json

if TYPE_CHECKING:
    from shared.db.core.pool import Connection

KEPT_HOURS = 24


@dataclass(frozen=True, kw_only=True)
class AnswerKey:
    """The key that a token's holder chose, with the digest of the request that it came with."""

    token_id: int
    key: str
    request: bytes


def claim(conn: Connection, key: AnswerKey) -> bool:
    """Take the key for this transaction; False if an earlier request of the last KEPT_HOURS has it.

    Waits for another transaction that takes the same key.
    """
    conn.execute(
        "DELETE FROM api_answers WHERE token_id = %s AND key = %s AND created_at < now() - make_interval(hours => %s)",
        (key.token_id, key.key, KEPT_HOURS),
    )
    taken = conn.execute(
        """
        INSERT INTO api_answers (token_id, key, request) VALUES (%(token_id)s, %(key)s, %(request)s)
        ON CONFLICT DO NOTHING
        """,
        vars(key),
    )
    return taken.rowcount == 1


def keep(conn: Connection, key: AnswerKey, document: dict[str, Any]) -> None:
    """Keep the answer of a claimed key."""
    conn.execute(
        "UPDATE api_answers SET answer = %s WHERE token_id = %s AND key = %s", (Json(document), key.token_id, key.key)
    )


def forget_old(conn: Connection) -> int:
    """Delete the answers that are kept no longer; return their number."""
    return conn.execute(
        "DELETE FROM api_answers WHERE created_at < now() - make_interval(hours => %s)", (KEPT_HOURS,)
    ).rowcount


def read(conn: Connection, key: AnswerKey) -> dict[str, Any] | None:
    """Return the answer that the same request got; None if the key came with another request."""
    row = conn.execute(
        "SELECT answer FROM api_answers WHERE token_id = %(token_id)s AND key = %(key)s AND request = %(request)s",
        vars(key),
    ).fetchone()
    return row[0] if row else None
