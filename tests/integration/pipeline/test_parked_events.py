"""Any number of parked events are adopted by their new tenant, harmful bodies included."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shared.db.recording import stored_deliveries
from tests.integration.pipeline.test_recording import receive

if TYPE_CHECKING:
    from tests.integration.pipeline.harness import Harness

STATES = "SELECT state, count(*)::int FROM events GROUP BY 1 ORDER BY 1"


@pytest.fixture
def parked(harness: Harness) -> Harness:
    """Five parked events of a company that has a tenant now; the first body is harmful or not."""
    for number in range(5):
        receive(harness, payload={"id": f"evt_{number}"})
    harness.record()
    harness.tenant("cmp_acme")
    return harness


def adopt(harness: Harness, times: int) -> None:
    for _ in range(times):
        harness.sweep("adopt")


def test_one_that_cannot_be_read_any_more_fails_visibly_and_leaves_the_others_alone(parked: Harness) -> None:
    parked.sql("UPDATE deliveries SET body = 'damaged' WHERE event_id = (SELECT min(id) FROM events)")
    adopt(parked, times=1)
    assert parked.sql(STATES) == [("done", 4), ("failed", 1)]
    assert parked.sql("SELECT kind, state, code FROM tasks WHERE state = 'failed'") == [
        ("record", "failed", "malformed_envelope")
    ]


def test_one_that_the_database_refuses_fails_visibly_and_leaves_the_others_alone(parked: Harness) -> None:
    parked.sql("ALTER TABLE events ADD CHECK (id <> 3 OR recipients IS NULL)")
    adopt(parked, times=1)
    assert parked.sql(STATES) == [("done", 4), ("failed", 1)]


def test_bodies_that_parse_differently_now_do_not_keep_the_others_waiting(
    parked: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ids differ as after a release that parses event ids in another way."""
    parked.sql("UPDATE events SET front_id = 'renamed_' || id WHERE id <= 2")
    monkeypatch.setattr(stored_deliveries.adoptable_deliveries, "__defaults__", (2,))
    adopt(parked, times=5)
    assert parked.sql(STATES) == [("done", 3), ("failed", 2)]


def test_events_without_bodies_do_not_keep_the_others_waiting(parked: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    parked.sql("UPDATE deliveries SET body = NULL WHERE event_id <= 2")
    monkeypatch.setattr(stored_deliveries.adoptable_deliveries, "__defaults__", (2,))
    adopt(parked, times=5)
    assert parked.sql(STATES) == [("done", 3), ("parked", 2)]
