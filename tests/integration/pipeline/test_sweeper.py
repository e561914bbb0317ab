"""The sweeper's jobs do not block each other."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from shared.db.core.locks import SWEEPER, Role
from shared.db.core.pool import KEEPALIVES
from shared.db.host import outbox
from shared.db.tasks import rescue
from shared.errors import StoreUnavailable
from shared.process import heartbeat
from tests.integration.pipeline.harness import NORA, TO_NORA
from tests.integration.pipeline.test_recording import envelope, receive
from workers.sweeping.periodic_jobs import NumberNotifications, PeriodicJob
from workers.sweeping.sweeper import LOOK_SECONDS, MIN_PAUSE_SECONDS, Lookout, _pause_seconds, _run_due

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.pipeline.harness import Harness
    from workers.resources import Resources


@pytest.fixture
def role(database: str) -> Iterator[Role]:
    """The role of the sweeper."""
    role = Role(database, SWEEPER, process="the test")
    yield role
    role.close()


def test_a_bug_in_one_job_stops_neither_the_others_nor_the_sweeper(harness: Harness, role: Role) -> None:
    done: list[str] = []

    def broken(_: Resources) -> None:
        raise ZeroDivisionError

    def works(_: Resources) -> None:
        done.append("works")

    jobs = [PeriodicJob(name="broken", every=0.0, run=broken), PeriodicJob(name="works", every=0.0, run=works)]
    _run_due(harness.resources, role, jobs)
    _run_due(harness.resources, role, jobs)
    assert done == ["works", "works"]


def test_leases_are_not_looked_at_when_postgresql_was_away_meanwhile(harness: Harness, role: Role) -> None:
    done: list[str] = []
    job = PeriodicJob(name="take_back", every=0.0, after_outage=10.0, run=lambda _: done.append("took back"))
    with role.held():
        _run_due(harness.resources, role, [job])
        harness.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'sweeper the test'"
        )
        with pytest.raises(StoreUnavailable):
            _run_due(harness.resources, role, [job])
    assert done == ["took back"]


def test_leases_are_not_looked_at_when_postgresql_hung_until_now(
    harness: Harness, role: Role, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    job = PeriodicJob(name="take_back", every=0.0, after_outage=10.0, run=lambda _: done.append("took back"))
    monkeypatch.setattr("workers.sweeping.sweeper.HUNG_SECONDS", 0.1)
    monkeypatch.setattr(role, "check", lambda: time.sleep(0.2))
    _run_due(harness.resources, role, [job])
    assert done == []
    assert job.due > time.monotonic() + 5.0


def test_a_backlog_is_recorded_in_turns_with_the_other_jobs(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    harness.tenant("cmp_acme")
    for number in range(100):
        receive(harness, payload={"id": f"evt_{number}"})
    monkeypatch.setattr(harness.resources.recorder._reader, "_size", 1)
    recorded = harness.resources.recorder.drain(max_seconds=0.01)
    assert 0 < recorded < 100
    assert harness.resources.intake.depth() == 100 - recorded


def test_a_redis_whose_clock_was_set_back_is_recorded_from_all_the_same(harness: Harness) -> None:
    an_hour_ahead = (int(time.time()) + 3_600) * 1_000
    fields = {"id": "0" * 32, "at": "1786440070000", "body": json.dumps(envelope())}
    harness.resources.intake._redis.xadd("mailroom:intake", fields, id=f"{an_hour_ahead}-0")
    harness.sweep("record_late")
    assert harness.resources.intake.depth() == 0


def test_entries_of_an_older_release_are_recorded(harness: Harness) -> None:
    fields = {"id": "0" * 32, "at": "1786440070000", "body": json.dumps(envelope())}
    harness.resources.intake._redis.xadd("mailroom:inbox", fields)
    harness.sweep("move_old_entries")
    harness.resources.recorder.drain()
    assert harness.one("SELECT count(*) FROM deliveries WHERE id = %s", "0" * 32) == 1


def test_a_heartbeat_resumes_after_an_error(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "INTERVAL_SECONDS", 0.02)
    harness.sql("ALTER TABLE processes RENAME TO not_migrated")
    beating = heartbeat.Heartbeat(harness.resources.pool, "worker@test", "worker", 16)
    beating.start()
    time.sleep(0.1)
    harness.sql("ALTER TABLE not_migrated RENAME TO processes")
    deadline = time.monotonic() + 10
    while not (found := harness.sql("SELECT slots FROM processes")) and time.monotonic() < deadline:
        time.sleep(0.02)
    beating.stop()
    assert found == [(16,)]


def test_a_process_that_starts_gives_those_up_that_are_gone(harness: Harness) -> None:
    """Those of its own machine alone: a frozen one is still there, and others cannot be looked at."""
    host = socket.gethostname()
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    names = [f"worker@{host}:{gone.pid}-0a1b", f"worker@{host}:{os.getpid()}", f"worker@elsewhere:{gone.pid}"]
    harness.sql("INSERT INTO processes (name, kind) SELECT unnest(%s::text[]), 'worker'", names)
    beating = heartbeat.Heartbeat(harness.resources.pool, f"sweeper@{host}:{os.getpid()}", "sweeper")
    beating.start()
    deadline = time.monotonic() + 10
    gone_at = "SELECT gone_at IS NOT NULL FROM processes WHERE name = %s"
    while not harness.one(gone_at, names[0]) and time.monotonic() < deadline:
        time.sleep(0.02)
    left = {name for (name,) in harness.sql("SELECT name FROM processes WHERE gone_at IS NULL")}
    lost = {name for (name,) in harness.sql("SELECT name FROM processes WHERE seen_at < now() - interval '15 s'")}
    beating.stop()
    assert (left, lost) == ({*names[1:], f"sweeper@{host}:{os.getpid()}"}, {names[0]})


def test_a_database_host_that_vanished_is_noticed_by_who_holds_a_role(database: str) -> None:
    role = Role(database, SWEEPER, process="test")
    with role.held() as held:
        parameters = role._connection().info.get_parameters()
    role.close()
    assert held
    assert {name: int(parameters[name]) for name in KEEPALIVES} == KEEPALIVES


def test_a_job_that_has_more_to_do_is_due_again_soon(harness: Harness, role: Role) -> None:
    jobs = [
        PeriodicJob(name=str(more), every=60.0, again_after=1.0, run=lambda _, more=more: more)
        for more in (True, False)
    ]
    began = time.monotonic()
    _run_due(harness.resources, role, jobs)
    ended = time.monotonic()
    assert began + 1.0 <= jobs[0].due <= ended + 1.0
    assert began + 60.0 <= jobs[1].due <= ended + 60.0


def test_the_sweeper_sleeps_until_something_is_due_but_never_long_nor_not_at_all() -> None:
    now = time.monotonic()
    jobs = [PeriodicJob(name="later", every=1.0, due=now + 60.0, run=lambda _: None)]
    assert _pause_seconds(jobs) == LOOK_SECONDS
    jobs.append(PeriodicJob(name="overdue", every=1.0, due=now - 1.0, run=lambda _: None))
    assert _pause_seconds(jobs) == MIN_PAUSE_SECONDS


# Rest


def wanted(harness: Harness) -> set[str]:
    return harness.resources.pool.run(rescue.waiting_work).jobs()


def one_task(harness: Harness) -> None:
    harness.user(harness.tenant("cmp_acme"), NORA)
    harness.send("inbound_received", "cmp_acme", recipients=TO_NORA)
    harness.record()
    harness.resources.pool.run(outbox.number)


READY = "UPDATE tasks SET state = 'ready', lease_until = NULL, due_at = now() + interval '{}'"


DONE = "UPDATE tasks SET state = 'done'"
NO_SCOPE = "UPDATE tenants SET parked_cause = 'missing_scope', probe_at = now()"
PAUSED = "UPDATE tenants SET parked_cause = 'paused'"
HELD_BACK = "UPDATE tenants SET not_before = now() + interval '1 h'"
OUTAGE = "INSERT INTO outages VALUES ('{}', now(), 'x', 'x', now())"
REPAIR = (
    "INSERT INTO repairs (tenant_id, state, due_at, claimed_until)"
    " SELECT id, '{}', now() + '{}', now() + '{}' FROM tenants"
)
LOST = "INSERT INTO processes (name, kind, seen_at) VALUES ('lost', 'worker', now() - interval '{}')"


@pytest.mark.parametrize(
    ("changes", "jobs"),
    [
        ([], {"dispatch"}),  # a worker has it
        ([READY.format("0 s")], {"dispatch"}),
        ([READY.format("1 h")], set()),
        ([READY.format("30 s")], set()),
        (["UPDATE tasks SET state = 'ready', lease_until = NULL, due_at = 'infinity'"], set()),
        (["UPDATE tasks SET lease_until = now() - interval '1 s'"], {"dispatch", "take_back"}),
        ([READY.format("0 s"), PAUSED], {"number_notifications"}),
        ([READY.format("0 s"), HELD_BACK], set()),
        ([READY.format("0 s"), OUTAGE.format("front")], {"probe"}),
        ([READY.format("0 s"), OUTAGE.format("storage")], {"probe", "dispatch"}),
        ([READY.format("0 s"), NO_SCOPE], {"probe"}),
        ([READY.format("1 h"), NO_SCOPE], set()),
        ([READY.format("0 s"), NO_SCOPE, HELD_BACK], set()),
        ([DONE, NO_SCOPE], set()),
        ([DONE, REPAIR.format("waiting", "0 s", "-1 s")], {"repair"}),
        ([DONE, REPAIR.format("waiting", "1 h", "-1 s")], set()),
        ([DONE, REPAIR.format("waiting", "0 s", "30 s")], set()),
        ([DONE, REPAIR.format("waiting", "0 s", "-1 s"), PAUSED], {"number_notifications"}),
        ([DONE, REPAIR.format("running", "0 s", "30 s")], set()),
        ([DONE, REPAIR.format("running", "0 s", "-1 s")], {"repair"}),
        ([DONE, LOST.format("17 s")], {"take_back", "repair"}),
        ([DONE, LOST.format("2 min")], set()),
        ([LOST.format("2 min")], {"dispatch", "take_back"}),
    ],
)
def test_a_look_shows_which_jobs_have_work(harness: Harness, changes: list[str], jobs: set[str]) -> None:
    one_task(harness)
    for statement in changes:
        harness.sql(statement)
    assert wanted(harness) == jobs


def test_a_look_shows_that_deliveries_wait_in_the_spool(harness: Harness) -> None:
    assert wanted(harness) == set()
    harness.sql("INSERT INTO spooled_deliveries (id, received_at, body) VALUES (gen_random_uuid(), now(), 'x')")
    assert wanted(harness) == {"record_spooled"}


def test_a_look_shows_that_notifications_wait_for_their_positions(harness: Harness) -> None:
    harness.sql("INSERT INTO outbox (type) VALUES ('ping')")
    assert wanted(harness) == {"number_notifications"}
    harness.sweep("number_notifications")
    assert wanted(harness) == set()
    assert harness.sql("SELECT position, type FROM notifications") == [(1, "ping")]


def test_numbering_stays_awake_for_a_while_after_it_found_notifications(
    harness: Harness,
) -> None:
    number = NumberNotifications()
    harness.publish(at_once=True)
    assert number(harness.resources) is False
    harness.sql("INSERT INTO outbox (type) VALUES ('ping')")
    assert [number(harness.resources), number(harness.resources)] == [True, True]
    number._awake_until = time.monotonic()
    assert number(harness.resources) is False


def test_numbering_rests_where_there_is_no_endpoint(harness: Harness) -> None:
    harness.sql("INSERT INTO outbox (type) VALUES ('ping')")
    assert NumberNotifications()(harness.resources) is False
    assert harness.one("SELECT count(*) FROM notifications") == 1


@pytest.mark.parametrize(("due", "seconds"), [("0.4 s", 0.4), ("30 s", 30.0), ("2 min", None), ("-1 s", None)])
def test_a_look_tells_when_the_next_task_is_due(harness: Harness, due: str, seconds: float | None) -> None:
    one_task(harness)
    harness.sql(READY.format(due))
    found = harness.resources.pool.run(rescue.waiting_work).next_due_seconds
    assert found == (pytest.approx(seconds, abs=0.3) if seconds else None)


def test_a_job_rests_without_work_and_comes_back_with_it() -> None:
    job = PeriodicJob(name="dispatch", every=0.1, rests=30.0, run=lambda _: None)
    job.start(100.0)
    assert job.due == 130.0
    job.note_work(waits=True)
    assert job.due == 100.1
    job.start(101.0)
    assert job.due == 101.1
    job.postpone(111.0)
    job.note_work(waits=True)
    assert job.due == 111.0
    job.note_work(waits=False)
    job.start(112.0)
    assert job.due == 142.0


@pytest.mark.parametrize(
    ("passed", "clock_passed", "is_postponed"),
    [(1.0, 1.1, False), (9.0, 9.0, True), (1.0, 60.0, True), (1.0, -60.0, False)],
)
def test_lost_time_leaves_the_workers_time_to_settle(
    role: Role, monkeypatch: pytest.MonkeyPatch, passed: float, clock_passed: float, is_postponed: bool
) -> None:
    job = PeriodicJob(name="take_back", every=1.0, rests=30.0, after_outage=10.0, run=lambda _: None)
    lookout = Lookout(role, [job])
    jobs = ("dispatch", "record_spooled", "number_notifications", "probe", "repair", "carry_out_jobs", "notify")
    nothing = dict.fromkeys(jobs, False)
    clocks = iter([50.0, 50.0 + clock_passed])
    monkeypatch.setattr(
        role,
        "run",
        lambda _: rescue.WaitingWork(**nothing, take_back=True, next_due_seconds=None, clock=next(clocks)),
    )
    lookout.look_if_due()
    assert lookout._last is not None
    lookout._due, lookout._last = 0.0, (lookout._last[0] - passed, lookout._last[1])
    lookout.look_if_due()
    assert (job.due > time.monotonic() + 5.0) == is_postponed


def test_no_job_rests_when_a_look_fails(role: Role, harness: Harness) -> None:
    job = PeriodicJob(name="dispatch", every=0.1, rests=30.0, run=lambda _: None)
    job.start(time.monotonic())
    harness.sql("ALTER TABLE repairs RENAME TO not_migrated")
    with role.held() as held:
        assert held
        Lookout(role, [job]).look_if_due()
        role.check()
    assert job.due < time.monotonic() + 1.0
