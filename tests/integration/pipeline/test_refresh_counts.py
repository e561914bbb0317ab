"""Calls of Front's token endpoint are counted by how they ended."""

from __future__ import annotations

from shared.db import counters
from tests.integration.pipeline.consent import PAST, UNCLAIMED, consent
from tests.integration.pipeline.rig import Rig

ACME, NORA = "cmp_acme", "nora@acme.example"


def mail(rig: Rig) -> None:
    """A recorded message with something to do."""
    rig.send("inbound_received", ACME, recipients=[{"handle": NORA, "role": "to"}])
    rig.record()


def test_calls_of_the_token_endpoint_are_counted_by_how_they_ended(rig: Rig) -> None:
    tenant = rig.tenant(ACME)
    rig.user(tenant, NORA)
    consent(rig, tenant, ACME)
    rig.sql(PAST)
    rig.control("faults", {"kind": "503", "path_regex": "^/oauth/token", "count": 1})
    mail(rig)
    rig.work()
    rig.hurry()
    rig.sql(UNCLAIMED)
    rig.work()
    rig.control(f"companies/{ACME}/tokens", {"do": "revoke"})
    mail(rig)
    rig.work()
    counted = rig.resources.pool.run(lambda conn: counters.read_counters(conn, "token_refreshes:"))
    assert counted == {"needs_reconnect": 1, "ok": 1, "token_unavailable": 1}
