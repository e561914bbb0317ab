"""Holds all work back during an outage of Front or the storage, and lets it go on afterwards.

A failed attempt only raises a suspicion; a health check decides. Front is away when `GET /me` fails as well, also for
another tenant. The storage is away when it does not take a test file. During an outage tasks do not run and
lose no attempt. One task at a time probes whether it is over.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

import structlog

from shared.db.core.pool import Connection
from shared.db.tasks import outages
from shared.db.tasks.outages import Service
from shared.errors import FrontUnavailable, MailroomError, NotYet, StorageUnavailable, StoreUnavailable
from shared.models import Task
from workers.attempts.attempt import Attempt
from workers.attempts.outage import OUTAGE_PROBE_SECONDS, calls_for_check, front_answered, suspected_service

log = structlog.get_logger()


def run_probes(attempt: Attempt) -> None:
    """Check each service whose outage this attempt probes, and end the outages that are over.

    Raises the error that shows that a service is still away.
    """
    for probe in attempt.task.probes:
        if probe != "missing_scope":
            _check(attempt, probe)
            _end_outage(attempt, probe)


def is_outage(attempt: Attempt, error: BaseException) -> bool:
    """Whether the attempt failed because a service is away for everybody; checks the service if nobody knows yet."""
    service = suspected_service(error)
    if service is None:
        return False
    try:
        known = attempt.transaction(lambda conn: _is_away(conn, service, attempt.task))
        return _found_away(attempt, service) if known is None else known
    except StoreUnavailable:
        return False


def _is_away(conn: Connection, service: Service, task: Task) -> bool | None:
    """Whether the service is known to be away; None when it must be checked.

    A failure that is no reason for a check yet is noted as unanswered.
    """
    if any(outage.what == service for outage in outages.current_outages(conn)):
        return True
    other_tasks = outages.count_other_unanswered(conn, task.id)
    if service == "storage" or calls_for_check(other_tasks=other_tasks, attempt=task.attempts):
        return None
    outages.note_unanswered(conn, task.id)
    return False


def _found_away(attempt: Attempt, service: Service) -> bool:
    """Check the service and begin an outage if it is away."""
    try:
        _check(attempt, service)
    except (FrontUnavailable, StorageUnavailable) as exc:
        if service == "storage" or not _answers_another_tenant(attempt):
            _begin_outage(attempt, service, exc)
            return True
    except NotYet:  # the check was not possible; the next failure makes another one
        return False
    if service == "front":
        attempt.transaction(outages.note_answer)
    return False


def _check(attempt: Attempt, service: Service) -> None:
    """Call the service without any conversation or file of a task. Raises the error that shows that it is away."""
    if service == "storage":
        attempt.resources.storage.check()
        return
    front = attempt.front()
    try:
        front.me()
    except FrontUnavailable:
        raise
    except MailroomError:  # a refused token is an answer, too
        if not front_answered(attempt.calls):
            raise


def _answers_another_tenant(attempt: Attempt) -> bool:
    """Whether Front answers another tenant; then only this tenant's company is affected."""
    front = attempt.front_as_another_tenant()
    if front is None:
        return False
    with suppress(MailroomError):
        front.me()
    return front_answered(front.calls)


def _begin_outage(attempt: Attempt, service: Service, error: MailroomError) -> None:
    if attempt.transaction(
        lambda conn: outages.begin(
            conn, service, code=error.code, detail=str(error), probe_seconds=OUTAGE_PROBE_SECONDS
        )
    ):
        log.error("outage_began", service=service, code=error.code, reason=str(error))


def _end_outage(attempt: Attempt, service: Service) -> None:
    if outage := attempt.transaction(lambda conn: outages.end(conn, service)):
        lasted = (datetime.now(UTC) - outage.since).total_seconds()
        log.warning("outage_ended", service=service, code=outage.code, seconds=round(lasted))
