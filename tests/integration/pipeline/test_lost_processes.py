"""A process whose heartbeat stopped gives up its tasks, messages and roles, and writes nothing when it wakes."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from bench.harness.processes import wait_until
from shared.db import repairs
from shared.db.core.locks import RECORDER, SWEEPER, Role
from shared.db.tasks import capacity, leases
from shared.errors import Fenced, LeaseTooShort, StoreUnavailable
from shared.process.heartbeat import Heartbeat, process_name
from tests.integration.pipeline.harness import NORA, TO_NORA
from workers.attempts.attempt import Attempt
from workers.attempts.run import run_task
from workers.steps import STEPS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.pipeline.harness import Harness

STATE = "SELECT state FROM tasks"
LOST, ALIVE = 17.0, 14.0  # seconds since the last heartbeat


@pytest.fixture
def task_id(harness: Harness) -> int:
    harness.user(harness.tenant("cmp_acme"), NORA)
    harness.send("inbound_received", "cmp_acme", recipients=TO_NORA)
    harness.record()
    harness.messages.sent.clear()
    return int(harness.one("SELECT id FROM tasks"))


def last_seen(harness: Harness, name: str, seconds: float, kind: str = "worker") -> None:
    """Let the process's last heartbeat be so many seconds old, and its attempts as old as that."""
    harness.sql(
        "INSERT INTO processes (name, kind, slots, seen_at) VALUES (%s, %s, 4, now() - make_interval(secs => %s))"
        " ON CONFLICT (name) DO UPDATE SET seen_at = excluded.seen_at",
        name,
        kind,
        seconds,
    )
    harness.sql("UPDATE attempts SET started_at = now() - make_interval(secs => %s) WHERE worker = %s", seconds, name)


@pytest.mark.parametrize(("seconds", "state"), [(LOST, "ready"), (ALIVE, "running")])
def test_a_task_is_taken_from_a_process_without_heartbeat(
    harness: Harness, task_id: int, seconds: float, state: str
) -> None:
    assert harness.claim(task_id, "gone") is not None
    last_seen(harness, "gone", seconds)
    harness.sweep("take_back")
    assert harness.one(STATE) == state
    assert harness.one("SELECT count(*)::int FROM counters WHERE name = 'rescued' AND value = 1") == (state == "ready")


def test_a_process_keeps_its_tasks_though_another_one_is_lost(harness: Harness, task_id: int) -> None:
    assert harness.claim(task_id, "slow") is not None
    harness.sql("UPDATE attempts SET started_at = now() - interval '100 seconds'")
    harness.resources.pool.run(lambda conn: capacity.record_heartbeat(conn, "slow", "worker", 4))
    last_seen(harness, "gone", LOST)
    harness.sweep("take_back")
    assert harness.one(STATE) == "running"


def test_a_process_that_woke_and_claims_before_its_heartbeat_keeps_the_task(harness: Harness, task_id: int) -> None:
    last_seen(harness, "woken", LOST)
    assert harness.claim(task_id, "woken") is not None
    harness.sweep("take_back")
    assert harness.one(STATE) == "running"


@pytest.mark.parametrize("kind", ["worker", "recorder"])
@pytest.mark.parametrize(("sends", "wait"), [(1, 30), (2, 60), (4, 240), (20, 1920)])
@pytest.mark.parametrize(("ago", "state"), [(LOST, "ready"), (5.0, "queued")])
def test_messages_that_a_lost_process_may_have_taken_are_sent_again(
    harness: Harness, task_id: int, kind: str, sends: int, wait: int, ago: float, state: str
) -> None:
    harness.sql(
        "UPDATE tasks SET sends = %s, lease_until = now() + make_interval(secs => %s - %s::float8)", sends, wait, ago
    )
    last_seen(harness, "gone", LOST, kind)
    harness.sweep("take_back")
    assert harness.one(STATE) == state


def test_a_lost_sweeper_took_no_messages(harness: Harness, task_id: int) -> None:
    harness.sql("UPDATE tasks SET lease_until = now() + interval '5 seconds'")
    last_seen(harness, "gone", LOST, "sweeper")
    harness.sweep("take_back")
    assert harness.one(STATE) == "queued"


def test_a_task_that_loses_five_processes_fails(harness: Harness, task_id: int) -> None:
    for number in range(5):
        assert harness.claim(task_id, f"gone-{number}") is not None
        last_seen(harness, f"gone-{number}", LOST)
        harness.sweep("take_back")
    assert harness.sql("SELECT state, code FROM tasks") == [("failed", "worker_lost")]


def test_a_repair_is_taken_from_a_lost_process(harness: Harness) -> None:
    tenant_id = harness.tenant("cmp_acme")
    for state, worker in (("running", "gone"), ("waiting", None)):
        harness.sql(
            "INSERT INTO repairs (tenant_id, state, worker, claimed_until)"
            " VALUES (%s, %s, %s, now() + interval '13 seconds')",
            tenant_id,
            state,
            worker,
        )
    last_seen(harness, "gone", LOST)
    assert len(harness.resources.pool.run(repairs.reclaim_repairs)) == 1
    assert harness.sql("SELECT DISTINCT state, claimed_until FROM repairs") == [("waiting", None)]


def test_a_repair_of_a_living_process_goes_on(harness: Harness) -> None:
    harness.sql(
        "INSERT INTO repairs (tenant_id, state, worker, claimed_until) VALUES (%s, 'running', 'slow', now() + '1 min')",
        harness.tenant("cmp_acme"),
    )
    last_seen(harness, "slow", ALIVE)
    assert harness.resources.pool.run(repairs.reclaim_repairs) == []


# A process that wakes


def attempt_of(harness: Harness, task_id: int, *, seconds_ago: float) -> Attempt:
    """Return an attempt that was claimed by the harness so many seconds ago."""
    pool, name = harness.resources.pool, harness.resources.name
    claimed = pool.run_autocommit(lambda conn: leases.claim(conn, task_id, name, lease_seconds=120))
    assert claimed is not None
    last_seen(harness, name, seconds_ago)
    return Attempt(harness.resources, claimed, time.monotonic() - seconds_ago)


def test_a_process_sends_a_heartbeat_before_it_claims(harness: Harness, task_id: int) -> None:
    run_task(harness.resources, STEPS, task_id)
    assert len(harness.writes()) == 1
    assert harness.sql("SELECT name FROM processes") == [(harness.resources.name,)]


def test_a_write_soon_after_the_claim_needs_no_heartbeat(harness: Harness, task_id: int) -> None:
    attempt_of(harness, task_id, seconds_ago=0).write_deadline()
    assert harness.one("SELECT seen_at < now() FROM processes")
    assert harness.resources.heartbeat.alive_for(-1e9).until == 0.0


def test_a_later_write_follows_a_heartbeat(harness: Harness, task_id: int) -> None:
    attempt = attempt_of(harness, task_id, seconds_ago=5)
    deadline = attempt.write_deadline()
    assert 10 < deadline - time.monotonic() < capacity.LOST_AFTER_SECONDS
    assert harness.one("SELECT now() - seen_at < interval '2 seconds' FROM processes")


def test_a_process_that_wakes_after_its_task_was_taken_writes_nothing(harness: Harness, task_id: int) -> None:
    attempt = attempt_of(harness, task_id, seconds_ago=LOST)
    harness.sweep("take_back")
    with pytest.raises(Fenced):
        attempt.write_deadline()


def test_a_heartbeat_after_waking_does_not_hide_that_the_task_was_taken(harness: Harness, task_id: int) -> None:
    attempt = attempt_of(harness, task_id, seconds_ago=LOST)
    harness.sweep("take_back")
    harness.resources.heartbeat.alive_for(capacity.LOST_AFTER_SECONDS - 1)
    with pytest.raises(Fenced):
        attempt.write_deadline()


def test_a_process_that_wakes_before_its_task_was_taken_keeps_it(harness: Harness, task_id: int) -> None:
    attempt = attempt_of(harness, task_id, seconds_ago=LOST)
    harness.resources.pool.run(lambda conn: conn.execute("UPDATE tasks SET lease_until = now()"))
    assert attempt.write_deadline() > time.monotonic()
    harness.sweep("take_back")
    assert harness.one(STATE) == "running"


def test_no_write_leaves_when_the_heartbeat_took_too_long(
    harness: Harness, task_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = attempt_of(harness, task_id, seconds_ago=5)
    monkeypatch.setattr(capacity, "LOST_AFTER_SECONDS", 9.0)  # as if 7 s of it had passed
    with pytest.raises(LeaseTooShort):
        attempt.write_deadline()


def test_no_write_leaves_when_no_heartbeat_is_possible(harness: Harness, task_id: int) -> None:
    class Away:
        size = 1

        def run(self, _: Callable[..., Any]) -> None:
            raise StoreUnavailable("PostgreSQL is away")

    attempt = attempt_of(harness, task_id, seconds_ago=5)
    away = Heartbeat(Away(), "test", "worker")  # type: ignore[arg-type]
    attempt.resources = replace(harness.resources, heartbeat=away)
    with pytest.raises(StoreUnavailable):
        attempt.write_deadline()


def test_a_restart_has_another_name() -> None:
    assert process_name("worker") != process_name("worker")


# Roles


def is_free(role: Role) -> bool:
    with role.held() as held:
        return held


@pytest.mark.parametrize("role", [RECORDER, SWEEPER])
@pytest.mark.parametrize("process", ["worker@host:1-aa", f"worker@{'h' * 63}:1-aa"])
def test_a_role_is_taken_from_a_lost_process_that_keeps_its_session(
    harness: Harness, database: str, role: int, process: str
) -> None:
    frozen, other = Role(database, role, process=process), Role(database, role, process="other")
    with frozen.held():
        last_seen(harness, process, ALIVE)
        harness.sweep("take_back")
        assert not is_free(other)
        last_seen(harness, process, LOST)
        harness.sweep("take_back")
        assert wait_until(lambda: is_free(other), 10.0)
        with pytest.raises(StoreUnavailable):
            frozen.check()
    frozen.close()
    other.close()


@pytest.mark.parametrize("process", ["worker@host:1-aa", f"worker@{'h' * 63}:1-aa"])
def test_a_process_ends_its_own_session_whose_connection_broke_without_a_word(database: str, process: str) -> None:
    broken, again, other = (Role(database, RECORDER, process=name) for name in (process, process, f"{process}b"))
    with broken.held() as held:
        assert held
        assert not is_free(other)
        assert wait_until(lambda: is_free(again), 10.0)
        with pytest.raises(StoreUnavailable):
            broken.check()
    for role in (broken, again, other):
        role.close()


def test_postgresql_gives_up_a_host_that_vanished(database: str) -> None:
    role = Role(database, RECORDER, process="a process")
    with role.held():  # over a Unix socket, these have no value to show
        set_here = "SELECT name FROM pg_settings WHERE name LIKE 'tcp%' AND source = 'session'"
        names = {name for (name,) in role.run(lambda conn: conn.execute(set_here).fetchall())}
    role.close()
    assert names == {"tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count", "tcp_user_timeout"}
