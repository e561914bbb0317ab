"""When a token ends: Front's documents name the field and not its form."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.front.expiry import expiry

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
SOON, IN_AN_HOUR = NOW + timedelta(minutes=20), NOW + timedelta(hours=1)


@pytest.mark.parametrize(
    ("answer", "ends"),
    [
        # As every client that we know of reads it
        ({"expires_at": int(SOON.timestamp())}, SOON),
        ({"expires_at": SOON.timestamp() + 0.5}, SOON + timedelta(seconds=0.5)),
        # Other forms of the same
        ({"expires_at": int(SOON.timestamp() * 1000)}, SOON),
        ({"expires_at": str(int(SOON.timestamp()))}, SOON),
        ({"expires_at": "2026-06-01T12:20:00Z"}, SOON),
        ({"expires_at": "2026-06-01T14:20:00+02:00"}, SOON),
        ({"expires_at": "2026-06-01T12:20:00"}, SOON),
        # What the standard says, and what of both is believed
        ({"expires_in": 1200}, SOON),
        ({"expires_in": "1200"}, SOON),
        ({"expires_at": int(SOON.timestamp()), "expires_in": 60}, SOON),
        ({"expires_at": "", "expires_in": 1200}, SOON),
        # Nothing to believe: Front's hour
        ({}, IN_AN_HOUR),
        ({"expires_at": None, "expires_in": None}, IN_AN_HOUR),
        ({"expires_at": "soon", "expires_in": "later"}, IN_AN_HOUR),
        ({"expires_at": True, "expires_in": True}, IN_AN_HOUR),
        ({"expires_at": "nan", "expires_in": "nan"}, IN_AN_HOUR),
        ({"expires_at": 1e300, "expires_in": 1e300}, IN_AN_HOUR),
        ({"expires_at": 10**400, "expires_in": 10**400}, IN_AN_HOUR),
        ({"expires_at": ["2026"], "expires_in": {}}, IN_AN_HOUR),
        ({"expires_in": -5}, IN_AN_HOUR),
        # A clock that is wrong: over before it began, or longer than any token lives
        ({"expires_at": int(NOW.timestamp()) - 1}, IN_AN_HOUR),
        ({"expires_at": int((NOW + timedelta(days=9)).timestamp())}, IN_AN_HOUR),
        ({"expires_in": 999_999}, IN_AN_HOUR),
    ],
)
def test_the_end_of_a_token_is_understood_in_every_form(answer: dict[str, Any], ends: datetime) -> None:
    assert expiry(answer, now=NOW) == ends
