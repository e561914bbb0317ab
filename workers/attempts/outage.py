"""Decides when failures look like an outage for everybody, and not like one bad conversation or file: pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from shared.errors import FrontUnavailable, StorageUnavailable, UnclearAnswer
from shared.models import Call

#: Other tasks that Front left unanswered, without an answer to anybody in between, before it is suspected.
OTHERS = 4
#: With little work there are no others: a task that failed this often by itself is enough.
ATTEMPTS = 3
#: While something is away, one task this often finds out whether it is back.
PROBE_SECONDS = 15.0
#: A permission is missing until somebody adds it, which Front tells nobody: one task of the tenant tries this often.
SCOPE_SECONDS = 3_600.0
#: And this soon, when that task came to an end which tells nothing about the permission.
SCOPE_AGAIN_SECONDS = 300.0


def blamed(error: BaseException) -> Literal["front", "storage"] | None:
    """Who may be away, when this is how an attempt ended."""
    match error:
        case FrontUnavailable() | UnclearAnswer():
            return "front"
        case StorageUnavailable():
            return "storage"
        case _:
            return None


def answered(calls: Sequence[Call]) -> bool:
    """Whether the last call shows that Front is there: any answer but a 5xx does."""
    return bool(calls) and calls[-1].status is not None and calls[-1].status < 500


def is_suspicious(*, others: int, attempt: int) -> bool:
    """Whether Front is to be asked something that concerns no conversation: once for many, since it may be down."""
    return others >= OTHERS or attempt >= ATTEMPTS
