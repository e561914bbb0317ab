"""Whatever parked a tenant's work, it goes on by itself when the cause is gone, and never faster than Front allows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shared.db.tenants import tenants
from tests.integration.pipeline.rig import Rig
from tests.integration.pipeline.test_parking import an_hour_passes, connect

ACME, NORA = "cmp_acme", "nora@acme.example"
PER_MINUTE = 30
EVENTS = 45
Release = Callable[[], None]


@pytest.fixture
def rig(database: str, redis_db: str, tmp_path: Path) -> Iterator[Rig]:
    """Mailroom, and a Front that takes thirty calls a minute."""
    rig = Rig(database, redis_db, tmp_path / "files", requests_per_minute=PER_MINUTE)
    yield rig
    rig.close()


def tenant(rig: Rig, *, token: str | None = None) -> int:
    tenant_id = rig.tenant(ACME, token=token)
    rig.user(tenant_id, NORA)
    return tenant_id


def unknown_company(rig: Rig) -> Release:
    rig.control("companies", {"id": ACME, "name": "Acme"})
    return lambda: tenant(rig) and None


def needs_reconnect(rig: Rig) -> Release:
    tenant_id = tenant(rig, token="refused")
    token = rig.control("companies", {"id": ACME, "name": "Acme"})["api_token"]
    return lambda: connect(rig, tenant_id, token)


def missing_scope(rig: Rig) -> Release:
    tenant(rig)
    rig.control("faults", {"kind": "403", "count": 1})
    return lambda: an_hour_passes(rig)


def paused(rig: Rig) -> Release:
    tenant_id = tenant(rig)
    rig.resources.pool.run(lambda conn: tenants.pause(conn, tenant_id))
    return lambda: rig.resources.pool.run(lambda conn: tenants.resume(conn, tenant_id)) and None


@pytest.mark.parametrize("cause", [unknown_company, needs_reconnect, missing_scope, paused])
def test_released_work_keeps_to_the_budget(rig: Rig, cause: Callable[[Rig], Release]) -> None:
    release = cause(rig)
    rig.send("inbound_received", ACME, recipients=[{"handle": NORA, "role": "to"}], count=EVENTS)
    rig.record()
    rig.work()
    assert rig.sql("SELECT DISTINCT state, cause FROM shown_events") == [("parked", cause.__name__)]
    release()
    rig.sweep("adopt", "probe")
    rig.work()
    calls = [call["at"] for call in rig.control("ledger/calls")["calls"] if call["status"] != 401]
    in_the_first_minute = [at for at in calls if at < calls[0] + 60]
    assert 0 < len(in_the_first_minute) <= PER_MINUTE
    assert rig.sql("SELECT DISTINCT cause FROM shown_events") == [(None,)]
    assert rig.one("SELECT max(attempts) FROM tasks") == 1
    if len(calls) == len(in_the_first_minute):
        assert rig.one("SELECT count(*)::int FROM tasks WHERE state = 'ready' AND attempts = 0") > 0
        assert rig.one("SELECT not_before > now() FROM tenants") is True
