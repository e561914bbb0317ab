"""What looks like an outage for everybody, and what does not."""

from __future__ import annotations

import pytest

from shared.errors import (
    AttachmentMissing,
    BudgetExhausted,
    DownloadIncomplete,
    FrontRejected,
    FrontUnavailable,
    MailroomError,
    StorageFull,
    StorageUnavailable,
    StoreUnavailable,
    UnclearAnswer,
)
from shared.models import Call
from workers.attempts.outage import calls_for_check, front_answered, suspected_service


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (FrontUnavailable("503"), "front"),
        (UnclearAnswer("a write, reset"), "front"),
        (StorageUnavailable("refused"), "storage"),
        (StorageFull("no space"), "storage"),
        # Front was there: it answered, or sent some of a file
        (DownloadIncomplete("half"), None),
        (AttachmentMissing("404"), None),
        (FrontRejected("422"), None),
        (BudgetExhausted("429"), None),
        # PostgreSQL has ways of its own
        (StoreUnavailable("PostgreSQL"), None),
        (TypeError("a bug"), None),
    ],
)
def test_who_may_be_away(error: MailroomError, what: str | None) -> None:
    assert suspected_service(error) == what


@pytest.mark.parametrize(
    ("statuses", "there"),
    [
        ([], False),  # nobody was asked
        ([204], True),
        ([404], True),
        ([429], True),
        ([500], False),
        ([None], False),  # no answer at all
        ([200, 503], False),  # the last one counts
        ([503, 200], True),
    ],
)
def test_the_last_call_shows_whether_front_is_there(statuses: list[int | None], there: bool) -> None:
    calls = [Call(method="GET", path="/me", status=each, milliseconds=1, budget_left=None) for each in statuses]
    assert front_answered(calls) is there


@pytest.mark.parametrize(
    ("others", "attempt", "suspicious"),
    [
        (0, 1, False),
        (3, 1, False),
        (4, 1, True),  # five different tasks
        (0, 2, False),
        (0, 3, True),  # no others, but often enough
    ],
)
def test_a_few_failures_are_no_reason_to_ask(others: int, attempt: int, suspicious: bool) -> None:
    assert calls_for_check(other_tasks=others, attempt=attempt) is suspicious
