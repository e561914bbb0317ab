"""The ledger counts the share of prompt responses."""

from __future__ import annotations

import pytest

from sandbox.ledger import DeliveryAttempt, Ledger


@pytest.mark.parametrize(
    ("tries", "share"),
    [
        ([], None),
        ([(200, 0.1), (503, 1.9)], 1.0),
        ([(200, 0.1), (200, 2.1)], 0.5),
        # A timeout is a late response
        ([(200, 0.1), ("timeout", 5.0)], 0.5),
        # The connection was refused
        ([(200, 2.1), ("refused", 0.0), ("reset", 0.1)], 0.0),
        ([("refused", 0.0)], None),
    ],
)
def test_the_share_of_prompt_responses(tries: list[tuple[int | str, float]], share: float | None) -> None:
    ledger = Ledger(None)
    for status, seconds in tries:
        ledger.record_attempt(DeliveryAttempt(at=0.0, event_id="evt_1", number=1, status=status, seconds=seconds))
    assert ledger.totals()["door_under_2s"] == share
