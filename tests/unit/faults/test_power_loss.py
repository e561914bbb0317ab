"""The run with `everysec` passes only when it loses deliveries and breaks no other promise."""

from __future__ import annotations

import pytest

from bench.faults.power_loss import meant_to_lose
from bench.faults.result import Result


@pytest.mark.parametrize(
    ("lost", "broken", "expected"),
    [
        # It lost deliveries, as it should
        (3, ("3 lost",), ()),
        # It lost deliveries and broke another promise
        (3, ("3 lost", "1 double"), ("1 double",)),
        # It lost nothing, so the run with `always` could not show a loss either
        (0, (), ("nothing was lost under everysec: the power cut had no effect",)),
    ],
)
def test_a_run_that_must_lose_is_judged(lost: int, broken: tuple[str, ...], expected: tuple[str, ...]) -> None:
    result = Result(name="power_everysec", load=9, injected=2, lost=lost, broken=broken)
    assert meant_to_lose(result).broken == expected
