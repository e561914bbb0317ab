"""An outage of Front costs no task an attempt, and a task that always goes wrong still fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.db.tasks import outages
from shared.db.tenants.tenants import park
from tests.integration.pipeline.harness import Harness
from workers.resources import Resources, open_resources

NORA = "nora@acme.example"
TO_NORA = [{"handle": NORA, "role": "to"}]
COMPANIES = ("cmp_acme", "cmp_other")


@pytest.fixture
def harness(database: str, redis_db: str, tmp_path: Path) -> Iterator[Harness]:
    """A Front without a rate limit, because a 429 would count as an answer."""
    harness = Harness(database, redis_db, tmp_path / "files", burst_per_second=0)
    yield harness
    harness.close()


@pytest.fixture
def tenants(harness: Harness) -> list[int]:
    found = [harness.tenant(company, company) for company in COMPANIES]
    for tenant in found:
        harness.user(tenant, NORA)
    return found


@pytest.fixture
def other_process(harness: Harness) -> Iterator[Resources]:
    resources = open_resources(harness.settings, harness.messages, kind="worker")  # type: ignore[arg-type]
    yield resources
    resources.close()


def mail(harness: Harness, count: int = 1, company: str = "cmp_acme", **order: Any) -> list[dict[str, Any]]:
    events = harness.send("inbound_received", company, recipients=TO_NORA, count=count, **order)
    harness.record()
    return events


def open_outages(harness: Harness) -> list[tuple[str, str]]:
    return harness.sql("SELECT what, code FROM outages ORDER BY what")


def let_an_hour_pass(harness: Harness) -> None:
    """Make all waiting tasks and probes due."""
    harness.make_due()
    harness.sql("UPDATE outages SET probe_at = now(), since = since - interval '1 hour'")


def probe(harness: Harness) -> None:
    """Run the probe of the outage and the work after it."""
    harness.sweep("probe")
    harness.work()


def calls(harness: Harness) -> int:
    return len(harness.control("ledger/calls")["calls"])


@pytest.mark.usefixtures("tenants")
def test_an_outage_of_front_costs_no_attempt_however_long_it_lasts(harness: Harness) -> None:
    harness.control("faults", {"kind": "503"})
    events = mail(harness, 20) + mail(harness, 20, "cmp_other")
    for _ in range(3):
        harness.work()
        harness.make_due()
    assert open_outages(harness) == [("front", "front_unavailable")]
    for _ in range(15):
        let_an_hour_pass(harness)
        probe(harness)
    assert harness.sql("SELECT DISTINCT state, attempts FROM tasks") == [("ready", 0)]
    harness.clear_faults()
    let_an_hour_pass(harness)
    probe(harness)
    assert open_outages(harness) == []
    assert {harness.status(event["conversation_id"]) for event in events} == {"archived"}
    assert [harness.control("verdict")[what] for what in ("lost", "double", "ghost")] == [0, 0, 0]


@pytest.mark.usefixtures("tenants")
def test_while_front_is_away_one_task_at_a_time_asks_for_all(harness: Harness) -> None:
    harness.control("faults", {"kind": "500"})
    mail(harness, 20)
    for _ in range(3):
        harness.work()
        harness.make_due()
    before = calls(harness)
    harness.work()
    harness.sweep("probe")
    harness.work()
    assert calls(harness) == before, "nobody is asked before it is time"
    let_an_hour_pass(harness)
    harness.sweep("probe")
    harness.sweep("probe")
    assert len(harness.messages.sent) == 1
    harness.work()
    asked = harness.control("ledger/calls")["calls"][before:]
    assert {call["path"] for call in asked} == {"/me"}


@pytest.mark.usefixtures("tenants")
def test_one_task_alone_finds_out_as_well(harness: Harness) -> None:
    harness.control("faults", {"kind": "503"})
    mail(harness)
    for _ in range(6):
        harness.work()
        let_an_hour_pass(harness)
        harness.sweep("probe")
    assert open_outages(harness) == [("front", "front_unavailable")]
    assert harness.sql("SELECT state, attempts FROM tasks") in ([("queued", 0)], [("ready", 0)])


@pytest.mark.usefixtures("tenants")
def test_files_that_always_go_wrong_are_no_outage_and_fail(harness: Harness) -> None:
    harness.control("faults", {"kind": "500", "path_regex": "/download/"})
    bad = mail(harness, 6, attachment_count=1)
    harness.work()
    harness.sql("UPDATE tasks SET attempts = 11 WHERE kind = 'store_attachment'")
    for _ in range(2):
        harness.make_due()
        harness.work()
    assert open_outages(harness) == []
    assert harness.sql("SELECT DISTINCT state, code, attempts FROM tasks WHERE kind = 'store_attachment'") == [
        ("failed", "front_unavailable", 13)
    ]
    assert {harness.status(event["conversation_id"]) for event in bad} == {"open"}
    good = mail(harness)
    harness.work()
    assert harness.status(good[0]["conversation_id"]) == "archived"


@pytest.mark.usefixtures("tenants")
def test_an_answer_to_anybody_ends_the_suspicion(harness: Harness) -> None:
    harness.control("faults", {"kind": "503", "company": "cmp_acme"})
    mail(harness, 3)
    harness.work()
    assert harness.one("SELECT count(*)::int FROM unanswered_tasks") == 3
    mail(harness, 1, "cmp_other")
    harness.work()
    assert harness.one("SELECT count(*)::int FROM unanswered_tasks") == 0


def test_a_message_that_outran_an_outage_hands_its_task_back(harness: Harness, tenants: list[int]) -> None:
    mail(harness, 3)
    harness.resources.dispatcher.send_round()
    assert len(harness.messages.sent) == 3
    begin(harness.resources)
    before = calls(harness)
    todo, harness.messages.sent = harness.messages.sent, []
    for _, (task_id,) in todo:
        harness.run(task_id)
    assert calls(harness) == before
    assert harness.sql("SELECT DISTINCT state, attempts FROM tasks") == [("ready", 0)]


def test_all_processes_see_an_outage_and_it_begins_once(harness: Harness, other_process: Resources) -> None:
    assert begin(harness.resources) is True
    assert begin(other_process) is False
    assert [outage.what for outage in other_process.pool.run(outages.current_outages)] == ["front"]
    assert other_process.pool.run(lambda conn: outages.end(conn, "front")) is not None
    assert harness.resources.pool.run(lambda conn: outages.end(conn, "front")) is None


def begin(resources: Resources) -> bool:
    return resources.pool.run(
        lambda conn: outages.begin(conn, "front", code="front_unavailable", detail="503", probe_seconds=15.0)
    )


@pytest.mark.usefixtures("tenants")
def test_front_failing_for_one_company_is_no_outage_for_the_others(harness: Harness) -> None:
    harness.control("faults", {"kind": "503", "company": "cmp_acme"})
    mail(harness, 6)
    for _ in range(4):
        harness.work()
        harness.make_due()
    assert open_outages(harness) == []
    assert harness.sql("SELECT DISTINCT state, attempts FROM tasks") == [("ready", 4)]
    [event] = mail(harness, 1, "cmp_other")
    harness.work()
    assert harness.status(event["conversation_id"]) == "archived"


def test_one_companys_trouble_does_not_prolong_an_outage(harness: Harness, tenants: list[int]) -> None:
    harness.control("faults", {"kind": "503", "company": "cmp_acme"})
    begin(harness.resources)
    mail(harness, 1)
    mail(harness, 20, "cmp_other")
    for _ in tenants:
        let_an_hour_pass(harness)
        probe(harness)
    assert open_outages(harness) == []


def test_an_outage_ends_though_every_tenant_with_work_lacks_a_permission(harness: Harness, tenants: list[int]) -> None:
    lack_permission(harness, tenants[0])
    mail(harness, 3)
    begin(harness.resources)
    harness.sql("UPDATE outages SET probe_at = now()")
    probe(harness)
    assert open_outages(harness) == []
    assert harness.sql("SELECT DISTINCT state FROM tasks") == [("done",)]


def test_a_full_storage_is_asked_though_every_tenant_with_files_lacks_a_permission(
    harness: Harness, tenants: list[int]
) -> None:
    lack_permission(harness, tenants[0])
    mail(harness, 2, attachment_count=1)
    harness.resources.pool.run(
        lambda conn: outages.begin(conn, "storage", code="storage_full", detail="full", probe_seconds=0)
    )
    probe(harness)
    assert open_outages(harness) == []


def lack_permission(harness: Harness, tenant_id: int) -> None:
    """Park the tenant for a permission that Front refused a moment ago, before its next probe."""
    harness.resources.pool.run(
        lambda conn: park(conn, tenant_id, "missing_scope", token_version=1, probe_seconds=3_600)
    )
