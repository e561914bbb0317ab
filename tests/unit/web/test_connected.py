"""The page after connecting: for how long it listens, and what it shows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from shared.db.reading.events import FirstEvent
from tests.unit.web.conftest import Finds

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
    """The page so many minutes after connecting."""
    client = console(pool=Finds(first)).test_client()
    at = datetime.now(UTC) - timedelta(minutes=minutes)
    with client.session_transaction() as session:
        session["connected"] = {"tenant_id": 1, "company_id": "cmp_1", "company": "Acme", "at": at.isoformat()}
    return client.get("/connected")


@pytest.mark.parametrize(
    ("state", "minutes", "refresh"),
    [
        # Nothing came yet
        (None, 0, "3"),
        (None, 9, "3"),
        # A page left open asks no longer
        (None, 11, None),
        ("processing", 11, None),
        # It is not over while it is worked on
        ("processing", 1, "3"),
        ("done", 1, None),
        ("parked", 1, None),
        ("failed", 1, None),
        ("ignored", 1, None),
    ],
)
def test_the_page_looks_again_while_something_may_come_and_for_ten_minutes(
    console: Console, state: str | None, minutes: int, refresh: str | None
) -> None:
    answer = shown(console, event(state) if state else None, minutes=minutes)
    assert (answer.status_code, answer.headers.get("Refresh")) == (200, refresh)


def test_who_waited_in_vain_is_told_what_to_look_at(console: Console) -> None:
    text = shown(console, None, minutes=11).text
    assert [word for word in ("ten minutes", "shared", "webhook", "ticked") if word not in text] == []


def test_what_front_says_is_shown_as_text(console: Console) -> None:
    text = shown(console, event("done"), minutes=1).text
    assert "evt_&lt;1&gt;" in text


def test_the_page_is_not_there_while_postgresql_is_away(console: Console) -> None:
    client = console().test_client()
    answer = client.get("/connect/some-token")
    assert (answer.status_code, answer.headers["Retry-After"], answer.mimetype) == (503, "5", "text/html")
