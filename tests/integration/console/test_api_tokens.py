"""Tokens for the REST API are shown once and stored as digests."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psycopg

    from tests.integration.console.conftest import Mailroom


def test_a_token_is_printed_once_and_kept_as_its_digest(mailroom: Mailroom, conn: psycopg.Connection) -> None:
    token = mailroom("api-token", "create", "nightly").stdout.strip()
    assert token.startswith("mr_")
    assert len(token) == len("mr_") + 43
    kept = conn.execute("SELECT digest, scope, tenant_id, expires_at FROM api_tokens").fetchall()
    assert kept == [(hashlib.sha256(token.encode()).digest(), "read", None, None)]
    assert token not in mailroom("api-token", "list").output


def test_a_token_may_be_for_one_tenant_and_a_time(mailroom: Mailroom, acme: str) -> None:
    mailroom("api-token", "create", "crm", "--scope", "write", "--tenant", acme, "--expires", "90d")
    [shown] = mailroom.json("api-token", "list")
    assert (shown["name"], shown["scope"], shown["tenant"], shown["state"]) == ("crm", "write", "Acme", "valid")
    assert shown["expires_at"] > shown["created_at"]


def test_a_name_is_free_again_when_its_token_is_revoked(mailroom: Mailroom) -> None:
    mailroom("api-token", "create", "crm")
    assert "token_name_taken" in mailroom("api-token", "create", "crm", code=1).stderr
    assert mailroom("api-token", "revoke", "crm").stdout == "revoked crm\n"
    mailroom("api-token", "create", "crm")
    assert [token["state"] for token in mailroom.json("api-token", "list")] == ["valid", "revoked"]


def test_revoking_nothing_matches_nothing(mailroom: Mailroom) -> None:
    assert "api-token list" in mailroom("api-token", "revoke", "nobody", code=3).stderr


def test_a_name_is_printable(mailroom: Mailroom) -> None:
    mailroom("api-token", "create", "a\nb", code=2)
