"""What is said of an attempt that failed: in the log, and on its task."""

from __future__ import annotations

import logging
import traceback

import structlog

from shared.errors import MailroomError, NotYet
from shared.known_secrets import hide
from shared.models import Task

DETAIL = 4_000
log = structlog.get_logger()


def log_failure(task: Task, exc: BaseException) -> None:
    """Log what ended an attempt."""
    code = exc.code if isinstance(exc, MailroomError) else "bug"
    event = "put_back" if isinstance(exc, NotYet) else "attempt_failed"
    log.log(importance(exc), event, task=task.id, kind=task.kind, code=code, attempt=task.attempts)


def importance(exc: BaseException) -> int:
    """The log level of what ended an attempt: waiting for budget is everyday, a bug is not."""
    if isinstance(exc, NotYet):
        return logging.DEBUG
    return logging.INFO if isinstance(exc, MailroomError) else logging.ERROR


def detail_of(error: BaseException) -> str:
    """What happened, for whoever looks at the failed task: our own words, or where the code broke."""
    if isinstance(error, MailroomError):
        return hide(str(error))[:DETAIL]
    frames = "".join(traceback.format_tb(error.__traceback__)[-12:])
    return f"{frames}{type(error).__name__}"[-DETAIL:]
