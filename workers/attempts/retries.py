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
    StorageUnavailable,
    StoreUnavailable,
    TransientError,
)

#: Seconds before attempt 2, 3, …; about eight hours in all.
SCHEDULE = (10, 30, 120, 600, 1_800, 3_600, 3_600, 3_600, 3_600, 3_600, 3_600, 3_600)
#: A file may lag behind its event: Front's 404 is believed after these.
MISSING_SCHEDULE = (5, 15, 60, 300)
#: A file that does not fit is tried without end; whoever made room need not wait long.
STORAGE_SCHEDULE = (10, 30, 120, 600)
SCHEDULES: Mapping[type[TransientError], tuple[int, ...]] = {
    AttachmentMissing: MISSING_SCHEDULE,
    StorageUnavailable: STORAGE_SCHEDULE,
}
LONGEST = SCHEDULE[-1]
#: An outage of PostgreSQL is nobody's attempt: whoever can write this down has seen its end.
STORE_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class Retry:
    """Try again in `delay` seconds."""

    delay: float
    code: str


@dataclass(frozen=True, kw_only=True)
class GiveBack:
    """Put the task back as if it had not been tried, due in `delay` seconds; `tenant`: all of the tenant's work too."""

    delay: float
    code: str
    tenant: bool = False


@dataclass(frozen=True, kw_only=True)
class Park:
    """Put the task back and let the tenant's work wait for `code` to be mended."""

    code: str


@dataclass(frozen=True, kw_only=True)
class GiveUp:
    """The task has failed."""

    code: str


Decision = Retry | GiveBack | Park | GiveUp


def decide(error: BaseException, *, attempt: int, jitter: float = 0.5, outage: bool = False) -> Decision:
    """Decide what follows the failure of attempt number `attempt` (the first is 1); `jitter` is a random 0..1.

    `outage`: it failed because something is away for everybody; then the task is held back elsewhere.
    """
    match error:
        case Parking():
            return Park(code=error.code)
        case StoreUnavailable():
            return GiveBack(delay=STORE_SECONDS, code=error.code)
        case NotYet():
            return GiveBack(delay=max(0.0, error.retry_after), code=error.code, tenant=error.affects_tenant)
        case TransientError():
            return GiveBack(delay=0.0, code=error.code) if outage else _again(error, attempt, jitter)
        case PermanentError() | MailroomError():
            return GiveUp(code=error.code)
        case _:
            return GiveUp(code="bug")


def _again(error: TransientError, attempt: int, jitter: float) -> Retry | GiveUp:
    schedule = next((waits for kind, waits in SCHEDULES.items() if isinstance(error, kind)), SCHEDULE)
    if attempt > len(schedule) and not isinstance(error, StorageUnavailable):
        return GiveUp(code=error.code)
    delay = schedule[min(attempt, len(schedule)) - 1] * (0.75 + jitter / 2)
    return Retry(delay=max(delay, min(error.retry_after or 0, LONGEST)), code=error.code)
