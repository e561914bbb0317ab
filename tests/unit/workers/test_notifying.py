"""Decisions about answers of endpoints."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

import pytest

from workers.notifying.decisions import (
    REFUSED,
    SCHEDULE,
    UNAVAILABLE,
    Again,
    Decision,
    EndpointAnswer,
    GivenUp,
    Health,
    Sent,
    allot,
    decide,
    describe,
    holds,
    next_probe_after,
    parse_retry_after,
    pause_after,
)

NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_every_2xx_means_that_the_endpoint_took_it(status: int) -> None:
    assert decide(EndpointAnswer(status=status), attempt=1) == Sent()


@pytest.mark.parametrize(
    ("answer", "attempt", "delay", "health"),
    [
        # No answer, a failure and a redirect follow the schedule
        (EndpointAnswer(problem="gave no answer in time"), 1, 5, Health.FAILED),
        (EndpointAnswer(status=500), 2, 300, Health.FAILED),
        (EndpointAnswer(status=503), 3, 1_800, Health.FAILED),
        (EndpointAnswer(status=302), 4, 7_200, Health.FAILED),
        (EndpointAnswer(status=500), 8, 86_400, Health.FAILED),
        # The 4xx that say nothing against the notification do, too
        (EndpointAnswer(status=408), 1, 5, Health.FAILED),
        (EndpointAnswer(status=409), 1, 5, Health.FAILED),
        (EndpointAnswer(status=425), 1, 5, Health.FAILED),
        (EndpointAnswer(status=429), 1, 5, Health.FAILED),
        # The time that the endpoint names counts where it is later
        (EndpointAnswer(status=503, retry_after=600), 1, 600, Health.FAILED),
        (EndpointAnswer(status=503, retry_after=1), 2, 300, Health.FAILED),
    ],
)
def test_a_failure_is_tried_again_by_the_schedule(
    answer: EndpointAnswer, attempt: int, delay: float, health: Health
) -> None:
    decision = decide(answer, attempt=attempt, jitter=0.0)
    assert decision == Again(delay=delay, reason=describe(answer), health=health)


def test_after_nine_attempts_in_52_hours_a_notification_has_failed() -> None:
    assert len(SCHEDULE) == 8
    assert 50 < sum(SCHEDULE) / 3600 < 54
    assert decide(EndpointAnswer(status=500), attempt=9) == GivenUp(
        code=UNAVAILABLE, reason="answered 500", health=Health.FAILED
    )


def test_a_refusal_is_given_up_after_three_attempts_and_only_the_first_one_counts_for_the_endpoint() -> None:
    decisions = [decide(EndpointAnswer(status=400), attempt=attempt, jitter=0.0) for attempt in (1, 2, 3)]
    assert decisions == [
        Again(delay=5, reason="answered 400", health=Health.FAILED, code=REFUSED),
        Again(delay=300, reason="answered 400", health=None, code=REFUSED),
        GivenUp(code=REFUSED, reason="answered 400", health=None),
    ]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (EndpointAnswer(status=410), Again(delay=0, reason="answered 410", health=Health.GONE, counts=False)),
        (
            EndpointAnswer(status=500, wish="disable"),
            Again(delay=0, reason="answered 500", health=Health.DISABLED, counts=False),
        ),
        # It took this one, and wants no other
        (EndpointAnswer(status=200, wish=" Disable "), Sent(health=Health.DISABLED)),
        (
            EndpointAnswer(status=500, wish="abort-message"),
            GivenUp(code=REFUSED, reason="answered 500, and asked not to get it again", health=None),
        ),
        (EndpointAnswer(status=200, wish="abort-message"), Sent()),
    ],
)
def test_an_endpoint_can_ask_to_be_left_alone(answer: EndpointAnswer, expected: Decision) -> None:
    assert decide(answer, attempt=1) == expected


@pytest.mark.parametrize(
    "answer", [EndpointAnswer(problem="gave no answer in time"), EndpointAnswer(status=502), EndpointAnswer(status=504)]
)
def test_a_probe_of_an_absent_server_is_no_attempt(answer: EndpointAnswer) -> None:
    decision = decide(answer, attempt=1, is_probe=True)
    assert decision == Again(delay=0, reason=describe(answer), health=Health.FAILED, counts=False)


def test_a_probe_that_the_server_itself_fails_is_an_attempt() -> None:
    decision = decide(EndpointAnswer(status=500), attempt=2, is_probe=True, jitter=0.0)
    assert decision == Again(delay=300, reason="answered 500", health=Health.FAILED)


@pytest.mark.parametrize(
    "answer",
    [EndpointAnswer(status=500), EndpointAnswer(status=410), EndpointAnswer(status=400), EndpointAnswer(problem="no")],
)
def test_a_test_is_tried_once_and_blames_nobody(answer: EndpointAnswer) -> None:
    decision = decide(answer, attempt=1, is_test=True)
    assert isinstance(decision, GivenUp)
    assert decision.health is None


def test_the_reason_of_a_redirect_says_what_to_do() -> None:
    assert describe(EndpointAnswer(status=301)) == (
        "answered 301: redirects are not followed; give the endpoint its final URL"
    )


@pytest.mark.parametrize(
    ("failures", "seconds", "expected"),
    [
        (5, 120, True),
        # A burst of failures is not long enough
        (100, 119, False),
        # A few failures over days are not many enough
        (4, 1_000_000, False),
    ],
)
def test_an_endpoint_is_held_after_many_failures_over_some_time(failures: int, seconds: float, expected: bool) -> None:
    assert holds(failures=failures, failing_seconds=seconds) is expected


def test_pauses_and_probes_have_bounds() -> None:
    assert [pause_after(each) for each in (1, 10, 1_000)] == [1, 10, 30]
    assert [next_probe_after(each) for each in (0, 600, 1_000_000)] == [30, 300, 900]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("120", 120),
        ("0.5", 0.5),
        ("-3", 0),
        ("Mon, 30 Nov 2026 12:01:00 GMT", 60),
        ("Mon, 30 Nov 2026 11:00:00 GMT", 0),
        # A year is too long to believe
        ("31536000", 86_400),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("Mon, 30 Nov 2026 12:01:00", None),
    ],
)
def test_retry_after_is_read_in_both_forms(value: str | None, expected: float | None) -> None:
    assert parse_retry_after(value, now=NOW) == expected


@pytest.mark.parametrize(
    ("waiting", "in_flight", "slow", "quick", "slots", "expected"),
    [
        # Two of an endpoint at most
        ([1], {}, set(), set(), 16, {1: 2}),
        ([1], {1: 1}, set(), set(), 16, {1: 1}),
        ([1], {1: 2}, set(), set(), 16, {}),
        # A quarter of the slots for all that are not quick, by turns
        ([1, 2, 3], {}, set(), set(), 16, {1: 2, 2: 1, 3: 1}),
        ([1, 2], {3: 2, 4: 2}, set(), set(), 16, {}),
        # Slow ones have one each, and half of that share together
        ([1, 2, 3, 4], {}, {1, 2, 3}, set(), 16, {1: 1, 2: 1, 4: 2}),
        ([1, 9], {2: 1, 3: 1}, {1, 2, 3}, set(), 16, {9: 2}),
        # A quick one has a quarter of the slots at most, and all together have half of them
        ([1], {}, set(), {1}, 16, {1: 4}),
        ([1], {1: 3}, set(), {1}, 16, {1: 1}),
        ([1, 2, 3], {}, set(), {1, 2, 3}, 16, {1: 3, 2: 3, 3: 2}),
        ([1], {2: 4, 3: 4}, set(), {1, 2, 3}, 16, {}),
        # Slow ones take nothing of it
        ([1, 9], {2: 1, 3: 1}, {1, 2, 3}, {9}, 16, {9: 4}),
        ([9], {2: 2, 3: 2}, set(), {9}, 16, {9: 4}),
        # Many quick ones leave one to those that are not, once one of their claims ends
        ([5, 1], {1: 4, 2: 3}, set(), {1, 2}, 16, {5: 1}),
        # One slot is enough to go on
        ([1, 2], {}, set(), set(), 1, {1: 1}),
        ([1, 2], {}, set(), {1, 2}, 1, {1: 1}),
        ([1], {}, {1}, set(), 1, {1: 1}),
    ],
)
def test_endpoints_share_half_of_the_slots(
    waiting: list[int],
    in_flight: dict[int, int],
    slow: set[int],
    quick: set[int],
    slots: int,
    expected: dict[int, int],
) -> None:
    assert allot(waiting, in_flight, slots, slow=slow, quick=quick) == expected


def test_beside_work_that_fills_the_workers_a_quick_endpoint_has_one_claim() -> None:
    decide_busy = partial(allot, slow=set(), is_busy=True)
    assert decide_busy([1, 2], {}, 16, quick={1}) == {1: 1, 2: 2}
    assert decide_busy([1], {1: 1}, 16, quick={1}) == {}
    assert decide_busy([1, 2, 3, 4, 5], {}, 16, quick={1, 2, 3, 4, 5}) == {1: 1, 2: 1, 3: 1, 4: 1}
