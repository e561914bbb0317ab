"""When a token is asked for anew."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from shared.freshness import Freshness, freshness

GIVEN = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("lives", "age", "found"),
    [
        (3_600, 0, "fresh"),
        (3_600, 3_299, "fresh"),
        # Five minutes ahead
        (3_600, 3_300, "ending"),
        (3_600, 3_599, "ending"),
        (3_600, 3_600, "over"),
        (3_600, 99_999, "over"),
        # A short life is not spent on being refreshed
        (60, 0, "fresh"),
        (60, 44, "fresh"),
        (60, 45, "ending"),
        (60, 60, "over"),
        # Stored later than it ended
        (-10, 0, "over"),
    ],
)
def test_a_token_is_refreshed_shortly_before_its_end(lives: int, age: int, found: Freshness) -> None:
    ends, now = GIVEN + timedelta(seconds=lives), GIVEN + timedelta(seconds=age)
    assert freshness(given_at=GIVEN, expires_at=ends, now=now) == found


def test_a_token_without_a_known_end_is_used_until_it_is_refused() -> None:
    assert freshness(given_at=GIVEN, expires_at=None, now=GIVEN + timedelta(days=99)) == "fresh"
