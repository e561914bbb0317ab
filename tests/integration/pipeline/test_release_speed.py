"""Parked work continues when its cause is gone, for each cause, and never faster than Front's rate limit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shared.db.tenants import tenants
from tests.integration.pipeline.harness import Harness
from tests.integration.pipeline.test_parking import connect, let_an_hour_pass

ACME, NORA = "cmp_acme", "nora@acme.example"
PER_MINUTE = 30
EVENTS = 45
Release = Callable[[], None]


@pytest.fixture
def harness(database: str, redis_db: str, tmp_path: Path) -> Iterator[Harness]:
    """A Mailroom, and a Front that takes thirty calls a minute."""
    harness = Harness(database, redis_db, tmp_path / "files", requests_per_minute=PER_MINUTE)
    yield harness
    harness.close()


def tenant(harness: Harness, *, token: str | None = None) -> int:
    tenant_id = harness.tenant(ACME, token=token)
    harness.user(tenant_id, NORA)
    return tenant_id


def unknown_company(harness: Harness) -> Release:
    harness.control("companies", {"id": ACME, "name": "Acme"})
    return lambda: tenant(harness) and None


def needs_reconnect(harness: Harness) -> Release:
    tenant_id = tenant(harness, token="refused")
    token = harness.control("companies", {"id": ACME, "name": "Acme"})["api_token"]
    return lambda: connect(harness, tenant_id, token)


def missing_scope(harness: Harness) -> Release:
    tenant(harness)
    harness.control("faults", {"kind": "403", "count": 1})
    return lambda: let_an_hour_pass(harness)


def paused(harness: Harness) -> Release:
    tenant_id = tenant(harness)
    harness.resources.pool.run(lambda conn: tenants.pause(conn, tenant_id))
    return lambda: harness.resources.pool.run(lambda conn: tenants.resume(conn, tenant_id)) and None


@pytest.mark.parametrize("cause", [unknown_company, needs_reconnect, missing_scope, paused])
def test_released_work_keeps_to_the_budget(harness: Harness, cause: Callable[[Harness], Release]) -> None:
    release = cause(harness)
    harness.send("inbound_received", ACME, recipients=[{"handle": NORA, "role": "to"}], count=EVENTS)
    harness.record()
    harness.work()
    assert harness.sql("SELECT DISTINCT state, cause FROM shown_events") == [("parked", cause.__name__)]
    release()
    harness.sweep("adopt", "probe")
    harness.work()
    calls = [call["at"] for call in harness.control("ledger/calls")["calls"] if call["status"] != 401]
    in_the_first_minute = [at for at in calls if at < calls[0] + 60]
    assert 0 < len(in_the_first_minute) <= PER_MINUTE
    assert harness.sql("SELECT DISTINCT cause FROM shown_events") == [(None,)]
    assert harness.one("SELECT max(attempts) FROM tasks") == 1
    if len(calls) == len(in_the_first_minute):
        assert harness.one("SELECT count(*)::int FROM tasks WHERE state = 'ready' AND attempts = 0") > 0
        assert harness.one("SELECT not_before > now() FROM tenants") is True
