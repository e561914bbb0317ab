"""Calls of Front's token endpoint are counted by their outcome."""

from __future__ import annotations

from shared.db import counters
from tests.integration.pipeline.harness import Harness
from tests.integration.pipeline.oauth import END_REFRESH_CLAIM, EXPIRE_TOKENS, connect_by_oauth

ACME, NORA = "cmp_acme", "nora@acme.example"


def mail(harness: Harness) -> None:
    """Send and record a message that causes a task."""
    harness.send("inbound_received", ACME, recipients=[{"handle": NORA, "role": "to"}])
    harness.record()


def test_calls_of_the_token_endpoint_are_counted_by_how_they_ended(harness: Harness) -> None:
    tenant = harness.tenant(ACME)
    harness.user(tenant, NORA)
    connect_by_oauth(harness, tenant, ACME)
    harness.sql(EXPIRE_TOKENS)
    harness.control("faults", {"kind": "503", "path_regex": "^/oauth/token", "count": 1})
    mail(harness)
    harness.work()
    harness.make_due()
    harness.sql(END_REFRESH_CLAIM)
    harness.work()
    harness.control(f"companies/{ACME}/tokens", {"do": "revoke"})
    mail(harness)
    harness.work()
    counted = harness.resources.pool.run(lambda conn: counters.read_counters(conn, "token_refreshes:"))
    assert counted == {"needs_reconnect": 1, "ok": 1, "token_unavailable": 1}
