"""Front away for everybody costs nobody an attempt; one thing that always goes wrong still fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.db.tasks import outages
from shared.db.tenants.tenants import park
from tests.integration.pipeline.rig import Rig
from workers.resources import Resources, open_resources

NORA = "nora@acme.example"
TO_NORA = [{"handle": NORA, "role": "to"}]
COMPANIES = ("cmp_acme", "cmp_other")


@pytest.fixture
def rig(database: str, redis_db: str, tmp_path: Path) -> Iterator[Rig]:
    """A Front that takes any number of calls: its 429 would be an answer."""
    rig = Rig(database, redis_db, tmp_path / "files", burst_per_second=0)
    yield rig
    rig.close()


@pytest.fixture
def tenants(rig: Rig) -> list[int]:
    found = [rig.tenant(company, company) for company in COMPANIES]
    for tenant in found:
        rig.user(tenant, NORA)
    return found


@pytest.fixture
def other_process(rig: Rig) -> Iterator[Resources]:
    resources = open_resources(rig.settings, rig.messages, kind="worker")  # type: ignore[arg-type]
    yield resources
    resources.close()


def mail(rig: Rig, count: int = 1, company: str = "cmp_acme", **order: Any) -> list[dict[str, Any]]:
    events = rig.send("inbound_received", company, recipients=TO_NORA, count=count, **order)
    rig.record()
    return events


def away(rig: Rig) -> list[tuple[str, str]]:
    return rig.sql("SELECT what, code FROM outages ORDER BY what")


def an_hour_later(rig: Rig) -> None:
    """Let everything be due that waits for a time, a probe as well."""
    rig.hurry()
    rig.sql("UPDATE outages SET probe_at = now(), since = since - interval '1 hour'")


def probe(rig: Rig) -> None:
    """Run the task that asks whether it is over, and what follows."""
    rig.sweep("probe")
    rig.work()


def calls(rig: Rig) -> int:
    return len(rig.control("ledger/calls")["calls"])


@pytest.mark.usefixtures("tenants")
def test_an_outage_of_front_costs_no_attempt_however_long_it_lasts(rig: Rig) -> None:
    rig.control("faults", {"kind": "503"})
    events = mail(rig, 20) + mail(rig, 20, "cmp_other")
    for _ in range(3):
        rig.work()
        rig.hurry()
    assert away(rig) == [("front", "front_unavailable")]
    for _ in range(15):
        an_hour_later(rig)
        probe(rig)
    assert rig.sql("SELECT DISTINCT state, attempts FROM tasks") == [("ready", 0)]
    rig.heal()
    an_hour_later(rig)
    probe(rig)
    assert away(rig) == []
    assert {rig.status(event["conversation_id"]) for event in events} == {"archived"}
    assert [rig.control("verdict")[what] for what in ("lost", "double", "ghost")] == [0, 0, 0]


@pytest.mark.usefixtures("tenants")
def test_while_front_is_away_one_task_at_a_time_asks_for_all(rig: Rig) -> None:
    rig.control("faults", {"kind": "500"})
    mail(rig, 20)
    for _ in range(3):
        rig.work()
        rig.hurry()
    before = calls(rig)
    rig.work()
    rig.sweep("probe")
    rig.work()
    assert calls(rig) == before, "nobody is asked before it is time"
    an_hour_later(rig)
    rig.sweep("probe")
    rig.sweep("probe")
    assert len(rig.messages.sent) == 1
    rig.work()
    asked = rig.control("ledger/calls")["calls"][before:]
    assert {call["path"] for call in asked} == {"/me"}


@pytest.mark.usefixtures("tenants")
def test_one_task_alone_finds_out_as_well(rig: Rig) -> None:
    rig.control("faults", {"kind": "503"})
    mail(rig)
    for _ in range(6):
        rig.work()
        an_hour_later(rig)
        rig.sweep("probe")
    assert away(rig) == [("front", "front_unavailable")]
    assert rig.sql("SELECT state, attempts FROM tasks") in ([("queued", 0)], [("ready", 0)])


@pytest.mark.usefixtures("tenants")
def test_files_that_always_go_wrong_are_no_outage_and_fail(rig: Rig) -> None:
    rig.control("faults", {"kind": "500", "path_regex": "/download/"})
    bad = mail(rig, 6, attachment_count=1)
    rig.work()
    rig.sql("UPDATE tasks SET attempts = 11 WHERE kind = 'store_attachment'")
    for _ in range(2):
        rig.hurry()
        rig.work()
    assert away(rig) == []
    assert rig.sql("SELECT DISTINCT state, code, attempts FROM tasks WHERE kind = 'store_attachment'") == [
        ("failed", "front_unavailable", 13)
    ]
    assert {rig.status(event["conversation_id"]) for event in bad} == {"open"}
    good = mail(rig)
    rig.work()
    assert rig.status(good[0]["conversation_id"]) == "archived"


@pytest.mark.usefixtures("tenants")
def test_an_answer_to_anybody_ends_the_suspicion(rig: Rig) -> None:
    rig.control("faults", {"kind": "503", "company": "cmp_acme"})
    mail(rig, 3)
    rig.work()
    assert rig.one("SELECT count(*)::int FROM unanswered_tasks") == 3
    mail(rig, 1, "cmp_other")
    rig.work()
    assert rig.one("SELECT count(*)::int FROM unanswered_tasks") == 0


def test_a_message_that_outran_an_outage_hands_its_task_back(rig: Rig, tenants: list[int]) -> None:
    mail(rig, 3)
    rig.resources.dispatcher.send_round()
    assert len(rig.messages.sent) == 3
    begin(rig.resources)
    before = calls(rig)
    todo, rig.messages.sent = rig.messages.sent, []
    for _, (task_id,) in todo:
        rig.run(task_id)
    assert calls(rig) == before
    assert rig.sql("SELECT DISTINCT state, attempts FROM tasks") == [("ready", 0)]


def test_all_processes_see_an_outage_and_it_begins_once(rig: Rig, other_process: Resources) -> None:
    assert begin(rig.resources) is True
    assert begin(other_process) is False
    assert [outage.what for outage in other_process.pool.run(outages.current_outages)] == ["front"]
    assert other_process.pool.run(lambda conn: outages.end(conn, "front")) is not None
    assert rig.resources.pool.run(lambda conn: outages.end(conn, "front")) is None


def begin(resources: Resources) -> bool:
    return resources.pool.run(
        lambda conn: outages.begin(conn, "front", code="front_unavailable", detail="503", probe_seconds=15.0)
    )


@pytest.mark.usefixtures("tenants")
def test_front_failing_for_one_company_is_no_outage_for_the_others(rig: Rig) -> None:
    rig.control("faults", {"kind": "503", "company": "cmp_acme"})
    mail(rig, 6)
    for _ in range(4):
        rig.work()
        rig.hurry()
    assert away(rig) == []
    assert rig.sql("SELECT DISTINCT state, attempts FROM tasks") == [("ready", 4)]
    [event] = mail(rig, 1, "cmp_other")
    rig.work()
    assert rig.status(event["conversation_id"]) == "archived"


def test_one_companys_trouble_does_not_prolong_an_outage(rig: Rig, tenants: list[int]) -> None:
    rig.control("faults", {"kind": "503", "company": "cmp_acme"})
    begin(rig.resources)
    mail(rig, 1)
    mail(rig, 20, "cmp_other")
    for _ in tenants:
        an_hour_later(rig)
        probe(rig)
    assert away(rig) == []


def test_an_outage_ends_though_every_tenant_with_work_lacks_a_permission(rig: Rig, tenants: list[int]) -> None:
    lack_permission(rig, tenants[0])
    mail(rig, 3)
    begin(rig.resources)
    rig.sql("UPDATE outages SET probe_at = now()")
    probe(rig)
    assert away(rig) == []
    assert rig.sql("SELECT DISTINCT state FROM tasks") == [("done",)]


def test_a_full_storage_is_asked_though_every_tenant_with_files_lacks_a_permission(
    rig: Rig, tenants: list[int]
) -> None:
    lack_permission(rig, tenants[0])
    mail(rig, 2, attachment_count=1)
    rig.resources.pool.run(
        lambda conn: outages.begin(conn, "storage", code="storage_full", detail="full", probe_seconds=0)
    )
    probe(rig)
    assert away(rig) == []


def lack_permission(rig: Rig, tenant_id: int) -> None:
    """It was refused a moment ago: it is not time to try again."""
    rig.resources.pool.run(lambda conn: park(conn, tenant_id, "missing_scope", token_version=1, probe_seconds=3_600))
