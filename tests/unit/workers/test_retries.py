"""Every error leads to a retry, a give-back, parking or giving up."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import errors
from shared.errors import (
    AttachmentMissing,
    AttachmentTooLarge,
    BudgetExhausted,
    ConfigurationError,
    ConversationGone,
    DownloadIncomplete,
    Fenced,
    FrontRejected,
    FrontUnavailable,
    InvalidPolicy,
    LeaseTooShort,
    MailroomError,
    MalformedEnvelope,
    MissingScope,
    NeedsReconnect,
    ShuttingDown,
    StorageFull,
    StorageUnavailable,
    StoreUnavailable,
    TokenUnavailable,
    TransientError,
    UnclearAnswer,
    UnsafeRedirect,
)
from workers.attempts.retries import (
    LONGEST,
    MISSING_SCHEDULE,
    SCHEDULE,
    Decision,
    GiveBack,
    GiveUp,
    Park,
    Retry,
    decide,
)


@pytest.mark.parametrize(
    ("error", "attempt", "decision"),
    [
        # Wrong data stays wrong
        (MalformedEnvelope("no company"), 1, GiveUp(code="malformed_envelope")),
        (FrontRejected("422"), 1, GiveUp(code="front_rejected")),
        (ConversationGone("404"), 1, GiveUp(code="conversation_gone")),
        (UnsafeRedirect("elsewhere"), 1, GiveUp(code="unsafe_redirect")),
        (AttachmentTooLarge("2 GB"), 1, GiveUp(code="attachment_too_large")),
        (InvalidPolicy("mark_read"), 1, GiveUp(code="invalid_policy")),
        # Our own errors that waiting does not repair
        (ConfigurationError("PORT"), 1, GiveUp(code="configuration")),
        (Fenced("another attempt"), 1, GiveUp(code="fenced")),
        # Every kind of bug fails at once
        (TypeError("oops"), 1, GiveUp(code="bug")),
        (LookupError("gone"), 1, GiveUp(code="bug")),
        (MemoryError(), 1, GiveUp(code="bug")),
        (RecursionError(), 1, GiveUp(code="bug")),
        (SystemExit(), 1, GiveUp(code="bug")),
        (TimeoutError(), 1, GiveUp(code="bug")),
        # Front is away: every step of the schedule, then giving up
        (FrontUnavailable("503"), 1, Retry(delay=10, code="front_unavailable")),
        (FrontUnavailable("503"), 2, Retry(delay=30, code="front_unavailable")),
        (FrontUnavailable("503"), 3, Retry(delay=120, code="front_unavailable")),
        (FrontUnavailable("503"), 4, Retry(delay=600, code="front_unavailable")),
        (FrontUnavailable("503"), 5, Retry(delay=1_800, code="front_unavailable")),
        (FrontUnavailable("503"), 6, Retry(delay=3_600, code="front_unavailable")),
        (FrontUnavailable("503"), 12, Retry(delay=3_600, code="front_unavailable")),
        (FrontUnavailable("503"), 13, GiveUp(code="front_unavailable")),
        (FrontUnavailable("503"), 99, GiveUp(code="front_unavailable")),
        # A longer Retry-After of Front's wins, up to our longest delay
        (FrontUnavailable("503", retry_after=45), 1, Retry(delay=45, code="front_unavailable")),
        (FrontUnavailable("503", retry_after=45), 3, Retry(delay=120, code="front_unavailable")),
        (FrontUnavailable("503", retry_after=86_400), 1, Retry(delay=LONGEST, code="front_unavailable")),
        (FrontUnavailable("503", retry_after=float("inf")), 1, Retry(delay=LONGEST, code="front_unavailable")),
        (FrontUnavailable("503", retry_after=0), 1, Retry(delay=10, code="front_unavailable")),
        (FrontUnavailable("503", retry_after=-5), 1, Retry(delay=10, code="front_unavailable")),
        # A Retry-After does not lengthen the schedule
        (FrontUnavailable("503", retry_after=45), 13, GiveUp(code="front_unavailable")),
        (DownloadIncomplete("half"), 1, Retry(delay=10, code="download_incomplete")),
        (DownloadIncomplete("half"), 13, GiveUp(code="download_incomplete")),
        (UnclearAnswer("reset"), 1, Retry(delay=10, code="unclear_answer")),
        (UnclearAnswer("reset"), 13, GiveUp(code="unclear_answer")),
        # A file may lag behind its event, so it counts as missing after four more tries
        (AttachmentMissing("404"), 1, Retry(delay=5, code="attachment_missing")),
        (AttachmentMissing("404"), 4, Retry(delay=300, code="attachment_missing")),
        (AttachmentMissing("404"), 5, GiveUp(code="attachment_missing")),
        # Retries for the storage never end
        (StorageUnavailable("refused"), 10_000, Retry(delay=600, code="storage_unavailable")),
        (StorageFull("no space"), 10_000, Retry(delay=600, code="storage_full")),
        # These do not count as attempts, so the task always goes back
        (BudgetExhausted("429", retry_after=12), 99, GiveBack(delay=12, code="budget_exhausted", tenant=True)),
        (BudgetExhausted("429", retry_after=-1), 1, GiveBack(delay=0, code="budget_exhausted", tenant=True)),
        (TokenUnavailable("503", retry_after=10), 99, GiveBack(delay=10, code="token_unavailable", tenant=True)),
        (StoreUnavailable("PostgreSQL"), 99, GiveBack(delay=1, code="store_unavailable")),
        (LeaseTooShort("9 s left"), 99, GiveBack(delay=0, code="lease_too_short")),
        (ShuttingDown("TERM"), 99, GiveBack(delay=0, code="shutting_down")),
        # The tenant's connection is broken, so its tasks are parked with the cause
        (NeedsReconnect("401"), 99, Park(code="needs_reconnect")),
        (MissingScope("403"), 99, Park(code="missing_scope")),
    ],
)
def test_an_error_decides_about_the_task(error: BaseException, attempt: int, decision: Decision) -> None:
    assert decide(error, attempt=attempt) == decision


@pytest.mark.parametrize("error", [FrontUnavailable("503"), UnclearAnswer("reset"), StorageFull("no space")])
def test_a_failure_in_an_outage_is_no_attempt(error: TransientError) -> None:
    assert decide(error, attempt=99, outage=True) == GiveBack(delay=0, code=error.code)


@pytest.mark.parametrize(("jitter", "delay"), [(0.0, 7.5), (0.5, 10.0), (1.0, 12.5)])
def test_jitter_moves_a_delay_by_a_quarter_at_most(jitter: float, delay: float) -> None:
    assert decide(FrontUnavailable("503"), attempt=1, jitter=jitter) == Retry(delay=delay, code="front_unavailable")


def test_jitter_never_shortens_fronts_retry_after() -> None:
    assert decide(FrontUnavailable("503", retry_after=11), attempt=1, jitter=0.0) == Retry(
        delay=11, code="front_unavailable"
    )


def test_no_delay_is_longer_than_an_hour() -> None:
    assert max(*SCHEDULE, *MISSING_SCHEDULE) == LONGEST == 3_600


def test_a_task_is_retried_for_about_eight_hours() -> None:
    assert 7.5 * 3_600 < sum(SCHEDULE) < 8.5 * 3_600


@pytest.mark.parametrize("schedule", [SCHEDULE, MISSING_SCHEDULE], ids=["schedule", "missing file"])
def test_delays_never_become_shorter(schedule: tuple[int, ...]) -> None:
    assert list(schedule) == sorted(schedule)


def classes(of: type[MailroomError]) -> Iterator[type[MailroomError]]:
    for found in of.__subclasses__():
        yield found
        yield from classes(found)


#: Transient errors take a retry_after, all others a message alone.
EVERY_ERROR: list[type[MailroomError]] = sorted(
    {*classes(MailroomError), MailroomError}, key=lambda each: each.__name__
)
OURS = [each for each in EVERY_ERROR if each.__module__ == errors.__name__]


@pytest.mark.parametrize("error", OURS, ids=[each.code for each in OURS])
def test_the_code_of_a_decision_is_that_of_the_error(error: type[MailroomError]) -> None:
    assert decide(error("what happened"), attempt=1).code == error.code


def test_no_two_errors_share_a_code() -> None:
    assert len({error.code for error in OURS}) == len(OURS)


@given(
    st.sampled_from([each for each in OURS if issubclass(each, TransientError)]),
    st.integers(1, 100),
    st.floats(0, 1),
    st.none() | st.floats(),
)
def test_every_wait_is_bounded(error: type[TransientError], attempt: int, jitter: float, wish: float | None) -> None:
    decision = decide(error("away", retry_after=wish), attempt=attempt, jitter=jitter)
    waits = isinstance(decision, Retry | GiveBack) and 0 < decision.delay <= 1.25 * LONGEST
    assert isinstance(decision, GiveUp) or waits
