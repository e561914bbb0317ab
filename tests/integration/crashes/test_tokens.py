"""A worker dies or freezes before it stores new tokens: no task is lost, with either rule for refresh tokens."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shared import queue
from tests.integration.crashes.conftest import NORA
from tests.integration.crashes.deployment import CLEAN, Deployment, Program
from tests.integration.pipeline.harness import Harness
from tests.integration.pipeline.oauth import (
    END_REFRESH_CLAIM,
    EXPIRE_TOKENS,
    confirmed_changes,
    connect_by_oauth,
    token_answers,
)

ACME = "cmp_acme"
EXPIRE = "UPDATE tasks SET lease_until = now() - interval '1 second' WHERE lease_until IS NOT NULL"
TASKS = "SELECT DISTINCT state, attempts FROM tasks"
MakeDeployment = Callable[..., Deployment]


@pytest.fixture
def oauth_deployment(database: str, redis_db: str, tmp_path: Path) -> Iterator[MakeDeployment]:
    """Make deployments with a tenant connected by OAuth; `rotates`: each refresh token is valid once."""
    made: list[Deployment] = []

    def make(*, rotates: bool) -> Deployment:
        deployment = Deployment(
            Harness(database, redis_db, tmp_path / "files", rotate_refresh_tokens=rotates), tmp_path
        )
        made.append(deployment)
        deployment.harness.user(deployment.harness.tenant(ACME), NORA)
        connect_by_oauth(deployment.harness, tenant_of(deployment), ACME)
        return deployment

    yield make
    for deployment in made:
        deployment.close()


def tenant_of(deployment: Deployment) -> int:
    return int(deployment.harness.one("SELECT id FROM tenants"))


def mail(deployment: Deployment, count: int) -> list[int]:
    """Record tasks without messages."""
    harness = deployment.harness
    harness.send("inbound_received", ACME, recipients=[{"handle": NORA, "role": "to"}], count=count, expect="archived")
    harness.record()
    harness.messages.sent.clear()
    harness.sql("UPDATE tasks SET state = 'ready', lease_until = NULL, sends = 0 WHERE state = 'queued'")
    return [task_id for (task_id,) in harness.sql("SELECT id FROM tasks WHERE state = 'ready'")]


def start_crashing_worker(deployment: Deployment, how: str) -> Program:
    """Start a worker that crashes after it got new tokens and before it stores them."""
    deployment.harness.sql(EXPIRE_TOKENS)
    [task_id] = mail(deployment, 1)
    worker = deployment.worker(consumes="caught", crash_at=f"refreshed_before_commit:{how}")
    deployment.send_message(queue.RUN_TASK, task_id, consumes="caught")
    worker.wait_for(f"failpoint refreshed_before_commit: {how}")
    return worker


def end_claim_and_lease(deployment: Deployment) -> None:
    """End the claim and the lease of the lost worker, instead of a wait of 20 seconds."""
    deployment.harness.sql(EXPIRE)
    deployment.harness.sql(END_REFRESH_CLAIM)
    deployment.harness.sweep("take_back")


def test_a_refresh_token_that_is_good_for_more_than_once_costs_one_more_refresh(
    oauth_deployment: MakeDeployment,
) -> None:
    deployment = oauth_deployment(rotates=False)
    start_crashing_worker(deployment, "kill").wait_for_death_by(signal.SIGKILL)
    assert token_answers(deployment.harness) == [200]
    end_claim_and_lease(deployment)
    deployment.harness.work()
    assert token_answers(deployment.harness) == [200, 200]
    assert deployment.harness.sql(TASKS) == [("done", 2)]
    assert deployment.verdict() == CLEAN


def test_a_refresh_token_that_was_good_once_parks_the_tenant_and_nothing_fails(
    oauth_deployment: MakeDeployment,
) -> None:
    deployment = oauth_deployment(rotates=True)
    start_crashing_worker(deployment, "kill").wait_for_death_by(signal.SIGKILL)
    end_claim_and_lease(deployment)
    mail(deployment, 4)
    deployment.harness.work()
    assert token_answers(deployment.harness) == [200, 400]
    assert deployment.harness.sql("SELECT DISTINCT state FROM tasks") == [("ready",)]
    assert deployment.harness.sql("SELECT DISTINCT state, cause FROM shown_events") == [("parked", "needs_reconnect")]
    connect_by_oauth(deployment.harness, tenant_of(deployment), ACME)
    deployment.harness.work()
    assert len(confirmed_changes(deployment.harness)) == 5
    assert deployment.verdict() == CLEAN


def test_a_worker_that_was_frozen_with_the_only_good_tokens_releases_the_tenant(
    oauth_deployment: MakeDeployment,
) -> None:
    deployment = oauth_deployment(rotates=True)
    worker = start_crashing_worker(deployment, "stop")
    worker.wait_until_frozen()
    end_claim_and_lease(deployment)
    deployment.harness.work()
    assert deployment.harness.one("SELECT parked_cause FROM tenants") == "needs_reconnect"
    worker.resume()
    deployment.wait_until(
        lambda: deployment.harness.one("SELECT parked_cause FROM tenants") is None, "the tenant is released"
    )
    worker.wait_for('"event": "fenced"')
    worker.stop()  # it may have sent the task to a queue without a worker
    end_claim_and_lease(deployment)
    deployment.harness.work()
    assert deployment.is_settled()
    assert token_answers(deployment.harness) == [200, 400]
    assert len(confirmed_changes(deployment.harness)) == 1
    assert deployment.verdict() == CLEAN


def refresh_once(deployment: Deployment, expire: Callable[[Deployment], Any], count: int, *, refreshed: int) -> None:
    """Have all workers run this many tasks at once, all with an expired token."""
    expire(deployment)
    for task_id in mail(deployment, count):
        deployment.send_message(queue.RUN_TASK, task_id, consumes=queue.WORK_QUEUE)
    deployment.settle()
    assert token_answers(deployment.harness) == [200] * refreshed


def expire_at_front(deployment: Deployment) -> None:
    deployment.harness.control(f"companies/{ACME}/tokens", {"do": "expire"})


def expire_at_front_and_here(deployment: Deployment) -> None:
    expire_at_front(deployment)
    deployment.harness.sql(EXPIRE_TOKENS)


@pytest.mark.timeout(240)
def test_many_attempts_of_three_processes_refresh_a_token_that_ended_once(oauth_deployment: MakeDeployment) -> None:
    deployment = oauth_deployment(rotates=True)
    workers = [deployment.worker(slots=8) for _ in range(3)]
    for worker in workers:
        worker.wait_for("ready")
    sweeper = deployment.sweeper()
    refresh_once(deployment, expire_at_front, 20, refreshed=1)
    refresh_once(deployment, expire_at_front_and_here, 20, refreshed=2)
    assert deployment.harness.sql(TASKS) == [("done", 1)]
    assert len(confirmed_changes(deployment.harness)) == 40
    assert deployment.verdict() == CLEAN
    assert {program.stop() for program in (*workers, sweeper)} == {None}
    output = "".join(program.output for program in (*workers, sweeper))
    assert output.count("token_refreshed") == 2
