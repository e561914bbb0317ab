"""Tells an outage for everybody from one bad conversation or file, by a neutral question; holds work back meanwhile.

A failure of the outage's kind is only a suspicion. Front is away when `GET /me` fails too, for another tenant as well,
and the storage when it does not take a file of ours. While an outage stands, tasks are not run and lose no attempt; one
at a time asks again.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog

from shared.db.tasks import outages
from shared.errors import FrontUnavailable, MailroomError, NotYet, StorageUnavailable, StoreUnavailable
from workers.attempts.outage import PROBE_SECONDS, answered, blamed, is_suspicious

if TYPE_CHECKING:
    from shared.db.core.pool import Connection
    from shared.db.tasks.outages import Service
    from shared.models import Task
    from workers.attempts.attempt import Attempt


log = structlog.get_logger()


def find_out(attempt: Attempt) -> None:
    """Ask whether what this attempt probes is back: raises what shows that it is not, ends the outage when it is."""
    for outage in attempt.task.probes:
        if outage != "missing_scope":
            _ask(attempt, outage)
            _end(attempt, outage)


def is_outage(attempt: Attempt, error: BaseException) -> bool:
    """Whether the attempt failed because something is away for everybody; asks it when that is not known yet."""
    what = blamed(error)
    if what is None:
        return False
    try:
        known = attempt.transaction(lambda conn: _known(conn, what, attempt.task))
        return _asked(attempt, what) if known is None else known
    except StoreUnavailable:
        return False


def _known(conn: Connection, what: Service, task: Task) -> bool | None:
    """Whether it is away, None when it must be asked. A failure that is no reason to ask yet is kept in mind."""
    if any(outage.what == what for outage in outages.current_outages(conn)):
        return True
    others = outages.count_other_unanswered(conn, task.id)
    if what == "storage" or is_suspicious(others=others, attempt=task.attempts):
        return None
    outages.note_unanswered(conn, task.id)
    return False


def _asked(attempt: Attempt, what: Service) -> bool:
    try:
        _ask(attempt, what)
    except (FrontUnavailable, StorageUnavailable) as exc:
        if what == "storage" or not _answers_another(attempt):
            _begin(attempt, what, exc)
            return True
    except NotYet:  # it could not be asked: the next failure does
        return False
    if what == "front":
        attempt.transaction(outages.note_answer)
    return False


def _ask(attempt: Attempt, what: Service) -> None:
    """A question that concerns no conversation and no file. Raises what shows that nobody is there to answer it."""
    if what == "storage":
        attempt.resources.storage.check()
        return
    front = attempt.front()
    try:
        front.me()
    except FrontUnavailable:
        raise
    except MailroomError:  # that the token is not accepted is an answer, too
        if not answered(attempt.calls):
            raise


def _answers_another(attempt: Attempt) -> bool:
    """Whether Front is there for another tenant: what it keeps from one company alone is nobody else's trouble."""
    front = attempt.front_of_another()
    if front is None:
        return False
    with suppress(MailroomError):
        front.me()
    return answered(front.calls)


def _begin(attempt: Attempt, what: Service, error: MailroomError) -> None:
    if attempt.transaction(
        lambda conn: outages.begin(conn, what, code=error.code, detail=str(error), probe_seconds=PROBE_SECONDS)
    ):
        log.error("outage_began", what=what, code=error.code, reason=str(error))


def _end(attempt: Attempt, what: Service) -> None:
    if over := attempt.transaction(lambda conn: outages.end(conn, what)):
        lasted = (datetime.now(UTC) - over.since).total_seconds()
        log.warning("outage_ended", what=what, code=over.code, seconds=round(lasted))
