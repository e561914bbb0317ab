"""Decides what follows a failed attempt: pure, and the only place that does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shared.errors import (
    AttachmentMissing,
    MailroomError,
    NotYet,
    Parking,
    PermanentError,
    SizeMismatch,
    StorageUnavailable,
    StoreUnavailable,
    TransientError,
)

#: Seconds between attempt 1 and 2, 2 and 3, …; about eight hours in all, each with jitter. For all errors but three.
SCHEDULE = (10, 30, 120, 600, 1_800, 3_600, 3_600, 3_600, 3_600, 3_600, 3_600, 3_600)
#: The same for a file that Front does not find, or that has another size: it may appear later than its event. A 404 and
#: a size are believed only then.
MISSING_SCHEDULE = (5, 15, 60, 300)
#: The same for a storage that is full or refuses: tried without end, and soon after somebody made room.
STORAGE_SCHEDULE = (10, 30, 120, 600)
SCHEDULES: Mapping[type[TransientError], tuple[int, ...]] = {
    AttachmentMissing: MISSING_SCHEDULE,
    SizeMismatch: MISSING_SCHEDULE,
    StorageUnavailable: STORAGE_SCHEDULE,
}
LONGEST = SCHEDULE[-1]
#: A failure without PostgreSQL is no attempt. Its delay is short: PostgreSQL is back when the failure can be written.
STORE_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class Retry:
    """Try again in `delay` seconds."""

    delay: float
    code: str


@dataclass(frozen=True, kw_only=True)
class GiveBack:
    """Put the task back as if it had not been tried, due in `delay` seconds.

    With `tenant`, all work of its tenant is held back for as long.
    """

    delay: float
    code: str
    tenant: bool = False


@dataclass(frozen=True, kw_only=True)
class Park:
    """Put the task back, and let the tenant's work wait until the cause `code` is gone."""

    code: str


@dataclass(frozen=True, kw_only=True)
class GiveUp:
    """Let the task fail."""

    code: str


Decision = Retry | GiveBack | Park | GiveUp


def decide(error: BaseException, *, attempt: int, jitter: float = 0.5, outage: bool = False) -> Decision:
    """Decide what follows the failure of attempt number `attempt`, where the first is 1; `jitter` is a random 0..1.

    `outage` says that the attempt failed because a service is away for everybody: the breaker holds the task back then.
    """
    match error:
        case Parking():
            return Park(code=error.code)
        case StoreUnavailable():
            return GiveBack(delay=STORE_SECONDS, code=error.code)
        case NotYet():
            return GiveBack(delay=max(0.0, error.retry_after), code=error.code, tenant=error.affects_tenant)
        case TransientError():
            return GiveBack(delay=0.0, code=error.code) if outage else _retry_or_give_up(error, attempt, jitter)
        case PermanentError() | MailroomError():
            return GiveUp(code=error.code)
        case _:
            return GiveUp(code="bug")


def _retry_or_give_up(error: TransientError, attempt: int, jitter: float) -> Retry | GiveUp:
    schedule = next((delays for kind, delays in SCHEDULES.items() if isinstance(error, kind)), SCHEDULE)
    if attempt > len(schedule) and not isinstance(error, StorageUnavailable):
        return GiveUp(code=error.code)
    delay = schedule[min(attempt, len(schedule)) - 1] * (0.75 + jitter / 2)
    return Retry(delay=max(delay, min(error.retry_after or 0, LONGEST)), code=error.code)
