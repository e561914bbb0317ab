"""Runs a task once: claims it, does its step, and settles how the step ended."""

from __future__ import annotations

import logging
import random
import time
import traceback
from collections.abc import Mapping
from functools import cache
from typing import Any

import structlog
from structlog.contextvars import bound_contextvars

from shared import failpoints, installed_version
from shared.db.tasks import events, leases
from shared.errors import BudgetExhausted, Fenced, MailroomError, NeedsReconnect, NotYet, StoreUnavailable
from shared.models import Task
from shared.process import tracing
from shared.process.logs import log_each
from shared.process.scrub import hide
from workers.attempts.attempt import Attempt, Step
from workers.attempts.breaker import is_outage, run_probes
from workers.attempts.retries import Decision, GiveBack, GiveUp, Park, Retry, decide
from workers.process import work_metrics
from workers.resources import Resources

#: The log's words for the end of an attempt that failed.
WORDS: Mapping[type[Decision], str] = {
    Retry: "attempt_failed",
    GiveBack: "task_put_back",
    Park: "task_parked",
    GiveUp: "task_failed",
}
#: Of a failure's description, in characters.
MAX_DESCRIPTION = 4_000
#: What tasks note for the host application is published this often, at most. The sweeper publishes the rest.
PUBLISHES_EVERY_SECONDS = 0.1
log = structlog.get_logger()


def run_task(resources: Resources, steps: Mapping[str, Step], task_id: int) -> None:
    """Run the task if it is due and free.

    Never raises: a failure is settled in the task's row. Without PostgreSQL the task is left to the sweeper.
    """
    try:
        attempt = _claim(resources, task_id)
        if attempt is None:
            return
        with bound_contextvars(**_ids(attempt.task)), _span(attempt):
            _run(attempt, steps[attempt.task.kind])
        if attempt.tenant_has_due_work:
            resources.dispatcher.top_up([attempt.task.tenant_id])
        resources.dispatcher.publish(not_within=PUBLISHES_EVERY_SECONDS)
    except StoreUnavailable as exc:
        log.warning("task_left_to_the_sweeper", task_id=task_id, reason=str(exc))


def log_level_of(error: BaseException) -> int:
    """Return the log level for an error that ended an attempt. A wait for budget is common, a bug is not."""
    if isinstance(error, NotYet):
        return logging.DEBUG
    return logging.INFO if isinstance(error, MailroomError) else logging.ERROR


def describe_failure(error: BaseException) -> str:
    """Describe the failure for the task's row: our own error's message, or the traceback of a bug without its message.

    The message of a foreign error may hold a secret.
    """
    if isinstance(error, MailroomError):
        return hide(str(error))[:MAX_DESCRIPTION]
    frames = "".join(traceback.format_tb(error.__traceback__)[-12:])
    return f"{frames}{type(error).__name__}"[-MAX_DESCRIPTION:]


@cache
def _version() -> str:
    return installed_version() or ""


def _claim(resources: Resources, task_id: int) -> Attempt | None:
    resources.heartbeat.alive_for(0.0)  # a task of a process that never sent one would wait for its lease to end
    claimed_at = time.monotonic()
    lease = resources.settings.lease_seconds
    claimed = resources.pool.run_autocommit(
        lambda conn: leases.claim(conn, task_id, resources.name, lease_seconds=lease, version=_version())
    )
    return Attempt(resources, claimed, claimed_at) if claimed else None


def _run(attempt: Attempt, step: Step) -> None:
    """Do the step and settle its end, unless the lease is lost meanwhile: then the task is somebody else's."""
    task = attempt.task
    began = time.monotonic()
    try:
        _do_or_fail(attempt, step)
        if attempt.end:
            state, code = attempt.end
            spent = round(1000 * (time.monotonic() - began))
            work_metrics.ATTEMPTS.labels(task.kind, state, code or "").inc()
            tracing.note(outcome=f"task_{state}", code=code)
            line = {"event": f"task_{state}", **_ids(task), "kind": task.kind, "code": code}
            log_each([line | {"attempt": task.attempts, "milliseconds": spent}])
    except Fenced:
        log.warning("fenced", kind=task.kind, epoch=task.lease_epoch)
        attempt.transaction(lambda conn: leases.release(conn, task))
    finally:
        work_metrics.TASK_SECONDS.labels(task.kind).observe(time.monotonic() - began)
        attempt.release_calls()
        attempt.resources.figures.note_attempt(task.tenant_id, attempt.figure, attempt.calls)


def _do_or_fail(attempt: Attempt, step: Step) -> None:
    try:
        failpoints.reach("claimed_before_run", of=attempt.task.kind)
        run_probes(attempt)
        _do(attempt, step)
    except Fenced:
        raise
    except BaseException as exc:  # noqa: BLE001 -- MemoryError, SystemExit: the task fails, the worker lives on
        _settle_failure(attempt, exc)


def _do(attempt: Attempt, step: Step) -> None:
    """Do the step. Do it again, in the same attempt, when Front refused a token and there is a newer one."""
    try:
        step(attempt)
    except NeedsReconnect:
        if not attempt.renew_token():
            raise
        step(attempt)


def _settle_failure(attempt: Attempt, error: BaseException) -> None:
    """Decide what follows the failure, write it down and log it. Raises Fenced when the lease is lost."""
    if isinstance(error, BudgetExhausted) and not attempt.calls:
        attempt.rest(error.retry_after)
        return
    outage = is_outage(attempt, error)
    jitter = random.random()  # noqa: S311 -- spreads retries
    decision = decide(error, attempt=attempt.task.attempts, jitter=jitter, outage=outage)
    try:
        attempt.fail(decision, describe_failure(error))
    finally:  # whatever became of it: nobody else says what happened
        task, level = attempt.task, log_level_of(error)
        state = "failed" if isinstance(decision, GiveUp) else "ready"
        work_metrics.ATTEMPTS.labels(task.kind, state, decision.code).inc()
        tracing.note(outcome=WORDS[type(decision)], code=decision.code, failed=isinstance(decision, Retry | GiveUp))
        log.log(level, WORDS[type(decision)], kind=task.kind, code=decision.code, attempt=task.attempts)


def _span(attempt: Attempt) -> tracing.Span:
    """Return the attempt's span. It is linked to the other deliveries of its event, too."""
    if not tracing.is_on():
        return tracing.NO_SPAN
    task = attempt.task
    return tracing.attempt(
        task.kind,
        task.delivery_id,
        also_for=attempt.transaction(lambda conn: events.later_deliveries(conn, task.event_id)),
        event_id=task.event_id,
        tenant_id=task.tenant_id,
        task_id=task.id,
        attempt=task.attempts,
    )


def _ids(task: Task) -> dict[str, Any]:
    """Return the ids that every line about the task has."""
    return {
        "delivery_id": task.delivery_id,
        "event_id": task.event_id,
        "tenant_id": task.tenant_id,
        "conversation_id": task.conversation_id,
        "task_id": task.id,
    }
