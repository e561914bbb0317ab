"""A repair in trouble waits, continues or fails with a reason, without effect on live work."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from shared.db import repairs
from shared.errors import Fenced
from tests.integration.pipeline.harness import Harness
from tests.integration.pipeline.oauth import connect_by_oauth
from tests.integration.pipeline.repairing import (
    ACME,
    CLEAN,
    OPEN,
    acme,
    ago,
    finish_repairs,
    mail,
    outcome,
    request_repair,
    run_slices,
    verdict,
)
from workers.repairing.slice import CLAIM_SECONDS

ON_EVENTS = "^/events"
STATE = "SELECT state, code FROM repairs"
DUE_NOW = "UPDATE repairs SET due_at = now() WHERE state = 'waiting'"


def seconds_until_due(harness: Harness, tenant: int) -> float:
    """Return the seconds until the tenant's repair continues."""
    return harness.one("SELECT extract(epoch FROM due_at - now())::float8 FROM repairs WHERE tenant_id = %s", tenant)


@pytest.fixture
def gap(harness: Harness) -> int:
    """Add a tenant with 40 missing webhooks and a requested repair."""
    tenant = acme(harness)
    mail(harness, count=40, deliver=False)
    request_repair(harness, tenant)
    return tenant


@pytest.mark.parametrize("kind", ["503", "reset_before", "cut_body"])
def test_front_in_trouble_is_asked_again_later_from_where_it_was(harness: Harness, gap: int, kind: str) -> None:
    harness.control("faults", {"kind": kind, "path_regex": ON_EVENTS})
    run_slices(harness)
    assert harness.sql(STATE) == [("waiting", "front_unavailable")]
    assert seconds_until_due(harness, gap) > 5
    assert harness.one("SELECT parked_cause FROM tenants") is None
    harness.clear_faults()
    harness.sql(DUE_NOW)
    finish_repairs(harness)
    assert (outcome(harness), verdict(harness)) == ([("done", 41, 1, 40, 40)], CLEAN)


def test_fronts_429_is_waited_for_and_counts_as_no_failure(harness: Harness, gap: int) -> None:
    harness.control("faults", {"kind": "429", "path_regex": ON_EVENTS, "seconds": 30, "count": 1})
    run_slices(harness)
    assert harness.sql("SELECT state, code, failures FROM repairs") == [("waiting", "budget_exhausted", 0)]
    assert seconds_until_due(harness, gap) > 20


def test_a_missing_permission_fails_the_repair_and_parks_nobody(harness: Harness, gap: int) -> None:
    harness.control("faults", {"kind": "403", "path_regex": ON_EVENTS})
    run_slices(harness)
    assert harness.sql(STATE) == [("failed", "missing_scope")]
    assert "events:*:read" in harness.one("SELECT detail FROM repairs")
    assert harness.one("SELECT parked_cause FROM tenants") is None
    harness.sweep("begin_repairs")
    assert harness.one(OPEN) == 0
    assert harness.one("SELECT next_at > now() + interval '23 hours' FROM repair_progress") is True


def test_a_refused_token_parks_the_tenant_and_the_repair_waits_for_the_new_one(harness: Harness, gap: int) -> None:
    harness.control(f"companies/{ACME}/tokens", {"do": "revoke"})
    run_slices(harness)
    assert harness.sql(STATE) == [("waiting", "needs_reconnect")]
    assert harness.one("SELECT parked_cause FROM tenants") == "needs_reconnect"
    connect_by_oauth(harness, gap, ACME)
    harness.sql("UPDATE tenants SET parked_cause = NULL")
    harness.sql(DUE_NOW)
    finish_repairs(harness)
    assert verdict(harness) == CLEAN


def test_a_repair_with_an_old_token_does_not_park_a_tenant_that_was_reconnected(
    harness: Harness, gap: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.control(f"companies/{ACME}/tokens", {"do": "revoke"})
    put_back = repairs.put_back

    def reconnected_meanwhile(*given: object, **named: object) -> None:
        harness.sql("UPDATE connections SET version = version + 1")
        put_back(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(repairs, "put_back", reconnected_meanwhile)
    run_slices(harness)
    assert harness.one("SELECT parked_cause FROM tenants") is None


def test_a_page_that_front_has_forgotten_is_asked_for_by_time(harness: Harness, gap: int) -> None:
    harness.sql("UPDATE repairs SET next_page = '/events?limit=15&page_token=evt_forgotten'")
    finish_repairs(harness)
    assert (outcome(harness), verdict(harness)) == ([("done", 41, 1, 40, 40)], CLEAN)


def test_a_tenants_own_work_goes_first(harness: Harness, gap: int) -> None:
    harness.send("inbound_received", ACME, recipients=[{"handle": "nora@acme.example", "role": "to"}])
    harness.record()
    run_slices(harness)
    assert harness.sql(STATE) == [("waiting", "gives_way")]
    assert outcome(harness)[0][1:] == (0, 0, 0, 0)
    finish_repairs(harness)
    assert verdict(harness)["unserved"] == 0


def test_a_worker_that_lost_its_claim_writes_nothing(harness: Harness, gap: int) -> None:
    repair_id = harness.one("SELECT id FROM repairs")
    claim = partial(repairs.claim, repair_id=repair_id, worker="test", seconds=CLAIM_SECONDS)
    first = harness.resources.pool.run(claim)
    assert first is not None
    assert harness.resources.pool.run(claim) is None
    harness.sql("UPDATE repairs SET claimed_until = now() - interval '1 second'")
    finish_repairs(harness)
    with pytest.raises(Fenced):
        harness.resources.pool.run(lambda conn: repairs.finish(conn, first, detail=None))
    assert outcome(harness) == [("done", 41, 1, 40, 40)]


def test_one_tenant_has_one_repair_in_work(harness: Harness, gap: int) -> None:
    request_repair(harness, gap)
    ids = [row[0] for row in harness.sql("SELECT id FROM repairs ORDER BY id")]
    claimed = [
        harness.resources.pool.run(partial(repairs.claim, repair_id=repair_id, worker="test", seconds=CLAIM_SECONDS))
        for repair_id in ids
    ]
    assert [each is not None for each in claimed] == [True, False]


def test_a_page_counted_twice_by_a_repeated_commit_counts_once(harness: Harness, gap: int) -> None:
    repair_id = harness.one("SELECT id FROM repairs")
    repair = harness.resources.pool.run(
        partial(repairs.claim, repair_id=repair_id, worker="test", seconds=CLAIM_SECONDS)
    )
    assert repair is not None
    page = repairs.Progress(pages=0, seen=15, missing=3, hours={"h": (15, 3)}, position=None, next_page=None)
    moved = [
        harness.resources.pool.run(lambda conn: repairs.count_page(conn, repair, page, seconds=CLAIM_SECONDS))
        for _ in range(2)
    ]
    assert moved == [True, False]
    assert harness.sql("SELECT pages, seen, missing, hours FROM repairs") == [(1, 15, 3, {"h": [15, 3]})]


def test_a_repair_takes_half_of_the_minute_and_live_work_has_the_rest(
    database: str, redis_db: str, tmp_path: Path
) -> None:
    harness = Harness(database, redis_db, tmp_path / "files", requests_per_minute=60)
    try:
        tenant = acme(harness)
        mail(
            harness, count=600, deliver=False, recipients=[{"handle": "nobody@acme.example", "role": "to"}], expect=None
        )
        request_repair(harness, tenant, dry_run=True)
        run_slices(harness)
        assert harness.sql(STATE) == [("waiting", "budget_exhausted")]
        calls = [call["route"] for call in harness.control("ledger/calls")["calls"]]
        assert 15 <= calls.count("/events") <= 30
        mail(harness, count=20, emitted_at=ago(0))  # one call each
        harness.record()
        harness.work()
        assert harness.one("SELECT count(*)::int FROM actions WHERE state = 'confirmed'") == 21
        assert {call["status"] for call in harness.control("ledger/calls")["calls"]} == {200, 204}
    finally:
        harness.close()
