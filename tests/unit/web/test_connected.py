"""The page after connecting waits for the first event for ten minutes, and shows it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from shared.db.reading.events import FirstEvent
from tests.unit.web.conftest import FixedPool

if TYPE_CHECKING:
    from werkzeug.test import TestResponse

    from tests.unit.web.conftest import Console


def event(state: str) -> FirstEvent:
    return FirstEvent(
        id="evt_<1>",
        type="inbound_received",
        state=state,
        cause=None,
        received_at=datetime.now(UTC),
        recipients=2,
        matched=1,
    )


def shown(console: Console, first: FirstEvent | None, *, minutes: int) -> TestResponse:
    """Return the page so many minutes after connecting."""
    client = console(pool=FixedPool(first)).test_client()
    at = datetime.now(UTC) - timedelta(minutes=minutes)
    with client.session_transaction() as session:
        session["connected"] = {"tenant_id": 1, "company_id": "cmp_1", "company": "Acme", "at": at.isoformat()}
    return client.get("/connected")


@pytest.mark.parametrize(
    ("state", "minutes", "refresh"),
    [
        # No event has come yet
        (None, 0, "3"),
        (None, 9, "3"),
        # A page that was left open stops asking
        (None, 11, None),
        ("processing", 11, None),
        # The page asks again until the event is settled
        ("processing", 1, "3"),
        ("done", 1, None),
        ("parked", 1, None),
        ("failed", 1, None),
        ("ignored", 1, None),
    ],
)
def test_the_page_refreshes_until_the_event_is_settled_for_ten_minutes(
    console: Console, state: str | None, minutes: int, refresh: str | None
) -> None:
    answer = shown(console, event(state) if state else None, minutes=minutes)
    assert (answer.status_code, answer.headers.get("Refresh")) == (200, refresh)


def test_after_ten_minutes_without_an_event_the_page_says_what_to_check(console: Console) -> None:
    text = shown(console, None, minutes=11).text
    assert [word for word in ("ten minutes", "shared", "webhook", "ticked") if word not in text] == []


def test_texts_of_front_are_escaped(console: Console) -> None:
    text = shown(console, event("done"), minutes=1).text
    assert "evt_&lt;1&gt;" in text


def test_the_page_is_503_while_postgresql_is_away(console: Console) -> None:
    client = console().test_client()
    answer = client.get("/connect/some-token")
    assert (answer.status_code, answer.headers["Retry-After"], answer.mimetype) == (503, "5", "text/html")
