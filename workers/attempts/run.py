"""Runs a task once: claims it, does its step, and settles what came of it."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping

import structlog

from shared import failpoints
from shared.db.tasks import leases
from shared.errors import Fenced, NeedsReconnect, StoreUnavailable
from workers.attempts.attempt import Attempt, Step, detail_of, log_failure
from workers.attempts.breaker import find_out, is_outage
from workers.attempts.retries import decide
from workers.resources import Resources

log = structlog.get_logger()


def run_task(resources: Resources, steps: Mapping[str, Step], task_id: int) -> None:
    """Run the task if it is due and free. Never raises: whatever happens is a row, or the sweeper's to find."""
    try:
        attempt = _claim(resources, task_id)
        if attempt is None:
            return
        _run(attempt, steps[attempt.task.kind])
        if attempt.more_is_due:
            resources.dispatcher.top_up([attempt.task.tenant_id])
    except StoreUnavailable as exc:
        log.warning("task_left_to_the_sweeper", task=task_id, reason=str(exc))


def _claim(resources: Resources, task_id: int) -> Attempt | None:
    claimed_at = time.monotonic()
    lease = resources.settings.lease_seconds
    claimed = resources.pool.run_autocommit(
        lambda conn: leases.claim(conn, task_id, resources.name, lease_seconds=lease)
    )
    return Attempt(resources, claimed, claimed_at) if claimed else None


def _run(attempt: Attempt, step: Step) -> None:
    task = attempt.task
    try:
        try:
            failpoints.reach("claimed_before_run", of=task.kind)
            find_out(attempt)
            _do(attempt, step)
        except Fenced:
            raise
        except BaseException as exc:  # noqa: BLE001 -- MemoryError, SystemExit: the task fails, the worker lives on
            log_failure(task, exc)
            _fail(attempt, exc)
    except Fenced:
        log.warning("fenced", task=task.id, kind=task.kind, epoch=task.lease_epoch)
        attempt.transaction(lambda conn: leases.release(conn, task))


def _do(attempt: Attempt, step: Step) -> None:
    """Do the step, once more when Front refused a token and there is a newer one: this costs no attempt."""
    try:
        step(attempt)
    except NeedsReconnect:
        if not attempt.renew_token():
            raise
        step(attempt)


def _fail(attempt: Attempt, error: BaseException) -> None:
    """Decide what follows the failure, and settle it. Raises Fenced when the lease is lost."""
    outage = is_outage(attempt, error)
    jitter = random.random()  # noqa: S311 -- spreads retries
    decision = decide(error, attempt=attempt.task.attempts, jitter=jitter, outage=outage)
    attempt.fail(decision, detail_of(error))
