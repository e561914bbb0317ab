"""Front's two rate limits, second by second."""

from __future__ import annotations

import pytest

from sandbox.rate_limits import RateLimits, RetryAfterMonitor


def test_a_company_has_a_limit_of_calls_a_minute() -> None:
    limits = RateLimits(3, 0)
    assert [limits.take("cmp_a", None, 100 + second).remaining for second in range(3)] == [2, 1, 0]
    refused = limits.take("cmp_a", None, 130)
    assert (refused.retry_after, refused.reset, refused.is_burst) == (30, 160, False)


def test_a_new_minute_begins_with_the_first_call_after_the_old_one() -> None:
    limits = RateLimits(1, 0)
    limits.take("cmp_a", None, 100)
    assert limits.take("cmp_a", None, 159.9).retry_after == pytest.approx(0.1)
    assert limits.take("cmp_a", None, 175).reset == 235


def test_companies_do_not_share_a_minute() -> None:
    limits = RateLimits(1, 0)
    limits.take("cmp_a", None, 100)
    assert limits.take("cmp_b", None, 100).retry_after is None


def test_a_burst_is_refused_although_the_minute_has_calls_left() -> None:
    limits = RateLimits(120, 5)
    calls = [limits.take("cmp_a", "cnv_1", 100 + tenth / 10) for tenth in range(6)]
    assert [call.retry_after for call in calls[:5]] == [None] * 5
    assert calls[5].retry_after == pytest.approx(0.5)
    assert calls[5].is_burst
    assert calls[5].remaining == 115
    assert calls[5].headers()["x-front-tier"] == "2"


def test_bursts_are_counted_by_resource_over_the_last_second() -> None:
    limits = RateLimits(120, 1)
    limits.take("cmp_a", "cnv_1", 100)
    assert limits.take("cmp_a", "cnv_2", 100.5).retry_after is None
    assert limits.take("cmp_a", "cnv_1", 101).retry_after is None


def test_a_refused_call_costs_nothing() -> None:
    limits = RateLimits(1, 0)
    for second in range(5):
        limits.take("cmp_a", None, 100 + second)
    assert limits.peek("cmp_a", 110).remaining == 0
    assert limits.take("cmp_a", None, 160).retry_after is None


def test_a_minute_may_be_shortened() -> None:
    limits = RateLimits(1, 0, minute_seconds=6)
    limits.take("cmp_a", None, 100)
    assert limits.take("cmp_a", None, 102).retry_after == 4
    assert limits.take("cmp_a", None, 106).retry_after is None


def test_zero_is_no_limit() -> None:
    limits = RateLimits(0, 0)
    assert all(limits.take("cmp_a", "cnv_1", 100).retry_after is None for _ in range(500))


@pytest.mark.parametrize(
    ("company", "resource", "after", "early"),
    [
        # The company was told to wait for ten seconds
        ("cmp_a", None, 5, True),
        ("cmp_a", "cnv_1", 5, True),
        # This call was sent before the refusal arrived
        ("cmp_a", None, 0.3, False),
        # A call after the wait, and a call of another company
        ("cmp_a", None, 10, False),
        ("cmp_b", None, 5, False),
    ],
)
def test_a_call_before_retry_after_is_over_is_early(
    company: str, resource: str | None, after: float, early: bool
) -> None:
    monitor = RetryAfterMonitor()
    monitor.note_refusal("cmp_a", None, 100, 10)
    assert monitor.is_early(company, resource, 100 + after) is early
