"""Decides when failures look like an outage for everybody, and not like one bad conversation or file: pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from shared.errors import FrontUnavailable, StorageUnavailable, UnclearAnswer
from shared.models import Call

#: Front is suspected when this many other tasks went unanswered, with no answer to anybody in between.
SUSPECT_AFTER_TASKS = 4
#: With little work there are no other tasks. Then Front is suspected when one task has failed this often.
SUSPECT_AFTER_ATTEMPTS = 3
#: During an outage one task probes this often whether it is over.
OUTAGE_PROBE_SECONDS = 15.0
#: Front does not tell when somebody adds a missing permission. One task of the tenant probes for it this often.
SCOPE_PROBE_SECONDS = 3_600.0
#: The next probe comes this soon when the task ended without telling anything about the permission.
SCOPE_PROBE_RETRY_SECONDS = 300.0


def suspected_service(error: BaseException) -> Literal["front", "storage"] | None:
    """Return the service that may be away when an attempt ended with this error; None when there is none."""
    match error:
        case FrontUnavailable() | UnclearAnswer():
            return "front"
        case StorageUnavailable():
            return "storage"
        case _:
            return None


def front_answered(calls: Sequence[Call]) -> bool:
    """Whether the last call shows that Front is up: any answer but a 5xx does."""
    return bool(calls) and calls[-1].status is not None and calls[-1].status < 500


def wasted_calls(calls: Sequence[Call], *, keeps_reading: bool) -> int:
    """Count the calls that an attempt made in vain when it came to nothing.

    With `keeps_reading` a later attempt has the use of the answers, so only calls that were refused or failed count.
    """
    return sum(not keeps_reading or call.status is None or call.status >= 400 for call in calls)


def calls_for_check(*, other_tasks: int, attempt: int) -> bool:
    """Whether an unanswered attempt is reason enough for a health check of Front.

    `other_tasks` went unanswered, too. Front may be down already, so one check serves for many failures.
    """
    return other_tasks >= SUSPECT_AFTER_TASKS or attempt >= SUSPECT_AFTER_ATTEMPTS
