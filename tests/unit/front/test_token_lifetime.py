"""The expiry of an access token, and the time at which it is refreshed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.front.token_lifetime import Freshness, expiry, freshness

NOW = ISSUED = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
SOON, IN_AN_HOUR = NOW + timedelta(minutes=20), NOW + timedelta(hours=1)


@pytest.mark.parametrize(
    ("answer", "ends"),
    [
        # All known clients read this form
        ({"expires_at": int(SOON.timestamp())}, SOON),
        ({"expires_at": SOON.timestamp() + 0.5}, SOON + timedelta(seconds=0.5)),
        # Other forms of the same time
        ({"expires_at": int(SOON.timestamp() * 1000)}, SOON),
        ({"expires_at": str(int(SOON.timestamp()))}, SOON),
        ({"expires_at": "2026-06-01T12:20:00Z"}, SOON),
        ({"expires_at": "2026-06-01T14:20:00+02:00"}, SOON),
        ({"expires_at": "2026-06-01T12:20:00"}, SOON),
        # The standard's field; expires_at wins when both are given
        ({"expires_in": 1200}, SOON),
        ({"expires_in": "1200"}, SOON),
        ({"expires_at": int(SOON.timestamp()), "expires_in": 60}, SOON),
        ({"expires_at": "", "expires_in": 1200}, SOON),
        # Without a usable value a token lives an hour, as Front promises
        ({}, IN_AN_HOUR),
        ({"expires_at": None, "expires_in": None}, IN_AN_HOUR),
        ({"expires_at": "soon", "expires_in": "later"}, IN_AN_HOUR),
        ({"expires_at": True, "expires_in": True}, IN_AN_HOUR),
        ({"expires_at": "nan", "expires_in": "nan"}, IN_AN_HOUR),
        ({"expires_at": 1e300, "expires_in": 1e300}, IN_AN_HOUR),
        ({"expires_at": 10**400, "expires_in": 10**400}, IN_AN_HOUR),
        ({"expires_at": ["2026"], "expires_in": {}}, IN_AN_HOUR),
        ({"expires_in": -5}, IN_AN_HOUR),
        # An expiry in the past or too far ahead shows a wrong clock
        ({"expires_at": int(NOW.timestamp()) - 1}, IN_AN_HOUR),
        ({"expires_at": int((NOW + timedelta(days=9)).timestamp())}, IN_AN_HOUR),
        ({"expires_in": 999_999}, IN_AN_HOUR),
    ],
)
def test_the_expiry_of_a_token_is_read_in_every_form(answer: dict[str, Any], ends: datetime) -> None:
    assert expiry(answer, now=NOW) == ends


@pytest.mark.parametrize(
    ("lives", "age", "found"),
    [
        (3_600, 0, "fresh"),
        (3_600, 3_299, "fresh"),
        # A refresh is due five minutes before the expiry
        (3_600, 3_300, "expiring"),
        (3_600, 3_599, "expiring"),
        (3_600, 3_600, "expired"),
        (3_600, 99_999, "expired"),
        # A short-lived token is refreshed in its last quarter
        (60, 0, "fresh"),
        (60, 44, "fresh"),
        (60, 45, "expiring"),
        (60, 60, "expired"),
        # The token had expired before it was stored
        (-10, 0, "expired"),
    ],
)
def test_a_token_is_refreshed_shortly_before_its_expiry(lives: int, age: int, found: Freshness) -> None:
    ends, now = ISSUED + timedelta(seconds=lives), ISSUED + timedelta(seconds=age)
    assert freshness(issued_at=ISSUED, expires_at=ends, now=now) == found


def test_a_token_without_an_expiry_is_used_until_it_is_refused() -> None:
    assert freshness(issued_at=ISSUED, expires_at=None, now=ISSUED + timedelta(days=99)) == "fresh"
