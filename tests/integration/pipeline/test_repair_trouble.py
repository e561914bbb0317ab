"""Whatever goes wrong on the way: a repair waits, goes on or fails with a reason, and live work does not notice."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from shared.db import repairs
from shared.errors import Fenced
from tests.integration.pipeline.consent import consent
from tests.integration.pipeline.mending import (
    ACME,
    CLEAN,
    OPEN,
    acme,
    ago,
    ask,
    follow,
    mail,
    one_slice,
    outcome,
    verdict,
)
from tests.integration.pipeline.rig import Rig
from workers.repairing.slice import CLAIM_SECONDS

ON_EVENTS = "^/events"
STATE = "SELECT state, code FROM repairs"
DUE_NOW = "UPDATE repairs SET due_at = now() WHERE state = 'waiting'"


def waits(rig: Rig, tenant: int) -> float:
    """Seconds until the tenant's repair goes on."""
    return rig.one("SELECT extract(epoch FROM due_at - now())::float8 FROM repairs WHERE tenant_id = %s", tenant)


@pytest.fixture
def gap(rig: Rig) -> int:
    """A tenant whose last 40 webhooks nobody sent, and a repair asked for."""
    tenant = acme(rig)
    mail(rig, count=40, deliver=False)
    ask(rig, tenant)
    return tenant


@pytest.mark.parametrize("kind", ["503", "reset_before", "cut_body"])
def test_front_in_trouble_is_asked_again_later_from_where_it_was(rig: Rig, gap: int, kind: str) -> None:
    rig.control("faults", {"kind": kind, "path_regex": ON_EVENTS})
    one_slice(rig)
    assert rig.sql(STATE) == [("waiting", "front_unavailable")]
    assert waits(rig, gap) > 5
    assert rig.one("SELECT parked_cause FROM tenants") is None
    rig.heal()
    rig.sql(DUE_NOW)
    follow(rig)
    assert (outcome(rig), verdict(rig)) == ([("done", 41, 1, 40, 40)], CLEAN)


def test_fronts_429_is_waited_for_and_counts_as_no_failure(rig: Rig, gap: int) -> None:
    rig.control("faults", {"kind": "429", "path_regex": ON_EVENTS, "seconds": 30, "count": 1})
    one_slice(rig)
    assert rig.sql("SELECT state, code, failures FROM repairs") == [("waiting", "budget_exhausted", 0)]
    assert waits(rig, gap) > 20


def test_a_missing_permission_fails_the_repair_and_parks_nobody(rig: Rig, gap: int) -> None:
    rig.control("faults", {"kind": "403", "path_regex": ON_EVENTS})
    one_slice(rig)
    assert rig.sql(STATE) == [("failed", "missing_scope")]
    assert "events:*:read" in rig.one("SELECT detail FROM repairs")
    assert rig.one("SELECT parked_cause FROM tenants") is None
    rig.sweep("begin_repairs")
    assert rig.one(OPEN) == 0
    assert rig.one("SELECT next_at > now() + interval '23 hours' FROM repair_progress") is True


def test_a_refused_token_parks_the_tenant_and_the_repair_waits_for_the_new_one(rig: Rig, gap: int) -> None:
    rig.control(f"companies/{ACME}/tokens", {"do": "revoke"})
    one_slice(rig)
    assert rig.sql(STATE) == [("waiting", "needs_reconnect")]
    assert rig.one("SELECT parked_cause FROM tenants") == "needs_reconnect"
    consent(rig, gap, ACME)
    rig.sql("UPDATE tenants SET parked_cause = NULL")
    rig.sql(DUE_NOW)
    follow(rig)
    assert verdict(rig) == CLEAN


def test_a_repair_with_an_old_token_does_not_park_a_tenant_that_was_reconnected(
    rig: Rig, gap: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.control(f"companies/{ACME}/tokens", {"do": "revoke"})
    put_back = repairs.put_back

    def reconnected_meanwhile(*given: object, **named: object) -> None:
        rig.sql("UPDATE connections SET version = version + 1")
        put_back(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(repairs, "put_back", reconnected_meanwhile)
    one_slice(rig)
    assert rig.one("SELECT parked_cause FROM tenants") is None


def test_a_page_that_front_has_forgotten_is_asked_for_by_time(rig: Rig, gap: int) -> None:
    rig.sql("UPDATE repairs SET next_page = '/events?limit=15&page_token=evt_forgotten'")
    follow(rig)
    assert (outcome(rig), verdict(rig)) == ([("done", 41, 1, 40, 40)], CLEAN)


def test_a_tenants_own_work_goes_first(rig: Rig, gap: int) -> None:
    rig.send("inbound_received", ACME, recipients=[{"handle": "nora@acme.example", "role": "to"}])
    rig.record()
    one_slice(rig)
    assert rig.sql(STATE) == [("waiting", "gives_way")]
    assert outcome(rig)[0][1:] == (0, 0, 0, 0)
    follow(rig)
    assert verdict(rig)["unserved"] == 0


def test_a_worker_that_lost_its_claim_writes_nothing(rig: Rig, gap: int) -> None:
    repair_id = rig.one("SELECT id FROM repairs")
    claim = partial(repairs.claim, repair_id=repair_id, seconds=CLAIM_SECONDS)
    first = rig.resources.pool.run(claim)
    assert first is not None
    assert rig.resources.pool.run(claim) is None
    rig.sql("UPDATE repairs SET claimed_until = now() - interval '1 second'")
    follow(rig)
    with pytest.raises(Fenced):
        rig.resources.pool.run(lambda conn: repairs.finish(conn, first, detail=None))
    assert outcome(rig) == [("done", 41, 1, 40, 40)]


def test_one_tenant_has_one_repair_in_work(rig: Rig, gap: int) -> None:
    ask(rig, gap)
    ids = [row[0] for row in rig.sql("SELECT id FROM repairs ORDER BY id")]
    claimed = [
        rig.resources.pool.run(partial(repairs.claim, repair_id=repair_id, seconds=CLAIM_SECONDS)) for repair_id in ids
    ]
    assert [each is not None for each in claimed] == [True, False]


def test_a_page_counted_twice_by_a_repeated_commit_counts_once(rig: Rig, gap: int) -> None:
    repair_id = rig.one("SELECT id FROM repairs")
    repair = rig.resources.pool.run(partial(repairs.claim, repair_id=repair_id, seconds=CLAIM_SECONDS))
    assert repair is not None
    page = repairs.Progress(pages=0, seen=15, missing=3, hours={"h": (15, 3)}, position=None, next_page=None)
    moved = [
        rig.resources.pool.run(lambda conn: repairs.count_page(conn, repair, page, seconds=CLAIM_SECONDS))
        for _ in range(2)
    ]
    assert moved == [True, False]
    assert rig.sql("SELECT pages, seen, missing, hours FROM repairs") == [(1, 15, 3, {"h": [15, 3]})]


def test_a_repair_takes_half_of_the_minute_and_live_work_has_the_rest(
    database: str, redis_db: str, tmp_path: Path
) -> None:
    rig = Rig(database, redis_db, tmp_path / "files", requests_per_minute=60)
    try:
        tenant = acme(rig)
        mail(rig, count=600, deliver=False, recipients=[{"handle": "nobody@acme.example", "role": "to"}], expect=None)
        ask(rig, tenant, dry_run=True)
        one_slice(rig)
        assert rig.sql(STATE) == [("waiting", "budget_exhausted")]
        calls = [call["route"] for call in rig.control("ledger/calls")["calls"]]
        assert 15 <= calls.count("/events") <= 30
        mail(rig, count=20, emitted_at=ago(0))  # one call each
        rig.record()
        rig.work()
        assert rig.one("SELECT count(*)::int FROM actions WHERE state = 'confirmed'") == 21
        assert {call["status"] for call in rig.control("ledger/calls")["calls"]} == {200, 204}
    finally:
        rig.close()
