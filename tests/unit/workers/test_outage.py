"""Some errors and calls suggest an outage of a service for all tasks."""

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
from workers.attempts.outage import calls_for_check, front_answered, suspected_service, wasted_calls


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (FrontUnavailable("503"), "front"),
        (UnclearAnswer("a write, reset"), "front"),
        (StorageUnavailable("refused"), "storage"),
        (StorageFull("no space"), "storage"),
        # Front answered, or sent a part of a file
        (DownloadIncomplete("half"), None),
        (AttachmentMissing("404"), None),
        (FrontRejected("422"), None),
        (BudgetExhausted("429"), None),
        # An outage of PostgreSQL is handled elsewhere
        (StoreUnavailable("PostgreSQL"), None),
        (TypeError("a bug"), None),
    ],
)
def test_an_error_names_the_suspected_service(error: MailroomError, what: str | None) -> None:
    assert suspected_service(error) == what


@pytest.mark.parametrize(
    ("statuses", "answered"),
    [
        ([], False),  # no call was made
        ([204], True),
        ([404], True),
        ([429], True),
        ([500], False),
        ([None], False),  # no answer at all
        ([200, 503], False),  # the last one counts
        ([503, 200], True),
    ],
)
def test_the_last_call_shows_whether_front_answers(statuses: list[int | None], answered: bool) -> None:
    calls = [Call(method="GET", path="/me", status=each, milliseconds=1, budget_left=None) for each in statuses]
    assert front_answered(calls) is answered


@pytest.mark.parametrize(
    ("others", "attempt", "suspicious"),
    [
        (0, 1, False),
        (3, 1, False),
        (4, 1, True),  # five different tasks
        (0, 2, False),
        (0, 3, True),  # no other task, but enough attempts
    ],
)
def test_only_repeated_failures_call_for_a_check(others: int, attempt: int, suspicious: bool) -> None:
    assert calls_for_check(other_tasks=others, attempt=attempt) is suspicious


@pytest.mark.parametrize(
    ("statuses", "keeps_reading", "wasted"),
    [
        ([], False, 0),
        ([200, 200, 429], False, 3),
        ([200, 200, 429], True, 1),
        ([200, 503, 503, None], True, 3),
        ([200, 200], True, 0),
        ([301, 200, 404], True, 1),
    ],
)
def test_calls_are_wasted_unless_their_answers_are_kept(
    statuses: list[int | None], keeps_reading: bool, wasted: int
) -> None:
    calls = [Call(method="GET", path="/", status=each, milliseconds=1, budget_left=None) for each in statuses]
    assert wasted_calls(calls, keeps_reading=keeps_reading) == wasted
