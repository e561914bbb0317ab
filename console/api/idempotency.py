"""Idempotency-Key: a request that creates something, sent again because its answer was lost, creates nothing more."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flask import current_app, g, request
from pydantic import BaseModel, Field

from console.api.blueprint import run
from console.api.problems import KeyReused
from console.operations.audited import Run, in_transaction
from shared.db import api_answers
from shared.db.api_answers import AnswerKey

if TYPE_CHECKING:
    from shared.db.core.pool import Connection

Document = dict[str, Any]


class IdempotencyHeader(BaseModel):
    """The header with which a request can be sent again."""

    idempotency_key: str | None = Field(
        None,
        alias="Idempotency-Key",
        pattern=r"^[\x21-\x7e]{1,200}$",
        description="A word of yours for this request. The same request again within 24 hours gets the same answer",
    )


def once(header: IdempotencyHeader, create: Callable[[Run], Document]) -> tuple[Document, int]:
    """Create something in one transaction and answer 201; with a known key, give the earlier answer.

    A refusal is not kept: the same key may come again with a better body. Raises KeyReused, and what `create` raises.
    """
    if header.idempotency_key is None:
        return create(run), 201
    key = AnswerKey(token_id=g.bearer.id, key=header.idempotency_key, request=_digest())

    def create_once(conn: Connection) -> Document:
        if not api_answers.claim(conn, key):
            earlier = api_answers.read(conn, key)
            if earlier is None:
                raise KeyReused("this Idempotency-Key came with another request; choose a new key for a new request")
            return earlier
        document: Document = json.loads(current_app.json.dumps(create(in_transaction(conn))))
        api_answers.keep(conn, key, document)
        return document

    return run(create_once), 201


def _digest() -> bytes:
    """Return what is the same for the same request: its address and the values of its body."""
    body = json.dumps(request.get_json(), sort_keys=True)
    return hashlib.sha256(f"{request.method} {request.full_path}\n{body}".encode("utf-8", "surrogateescape")).digest()
