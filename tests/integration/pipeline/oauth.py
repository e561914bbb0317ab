"""Connect tenants by OAuth, as after the consent of an admin, and read the answers of the token endpoint."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from shared.connection.vault import TokenVault
from shared.db.tenants import connections

if TYPE_CHECKING:
    from tests.integration.pipeline.harness import Harness

CALLBACK = "https://mailroom.example/oauth/callback"
#: Expires all access tokens in our rows; Front's own clock does not move.
EXPIRE_TOKENS = "UPDATE connections SET updated_at = now() - interval '2 hours', expires_at = now() - interval '1 hour'"
#: Ends the claim of a dead worker that refreshed, instead of a wait of 20 seconds.
END_REFRESH_CLAIM = "UPDATE connections SET refreshing_until = now() - interval '1 second'"


@dataclass(frozen=True, kw_only=True)
class Grant:
    """The tokens of a company's grant."""

    access_token: str
    refresh_token: str


def connect_by_oauth(harness: Harness, tenant_id: int, company: str) -> Grant:
    """Connect the tenant by OAuth, without a call of the token endpoint."""
    grants, now = harness.sandbox.front.grants, harness.sandbox.front.now()
    tokens = grants.exchange(
        grants.issue_code(company, "https://mailroom.example", now), "https://mailroom.example", now
    )
    secret = {"access_token": tokens.access_token, "refresh_token": tokens.refresh_token}
    sealed = TokenVault(harness.settings.token_keys).seal(tenant_id, secret)
    ends = datetime.fromtimestamp(tokens.expires_at, UTC)
    harness.resources.pool.run(
        lambda conn: connections.connect(conn, tenant_id, kind="oauth", secret=sealed, expires_at=ends)
    )
    return Grant(**secret)


def stored_grant(harness: Harness, tenant_id: int) -> Grant:
    """Return the tokens in our row."""
    sealed = bytes(harness.one("SELECT secret FROM connections WHERE tenant_id = %s", tenant_id))
    return Grant(**TokenVault(harness.settings.token_keys).open(tenant_id, sealed))


def token_answers(harness: Harness) -> list[int]:
    """Return the statuses of the token endpoint's answers, in order."""
    calls: list[dict[str, Any]] = harness.control("ledger/calls")["calls"]
    return [call["status"] for call in calls if call["route"] == "/oauth/token"]


def confirmed_changes(harness: Harness) -> list[dict[str, Any]]:
    """Return the calls that changed conversations in Front."""
    return [call for call in harness.writes() if call["route"] != "/oauth/token" and call["status"] == 204]
