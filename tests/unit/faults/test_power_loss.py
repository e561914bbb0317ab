"""The run with `everysec` passes by losing, and by nothing else."""

from __future__ import annotations

import pytest

from bench.faults.power_loss import meant_to_lose
from bench.faults.result import Result


@pytest.mark.parametrize(
    ("lost", "broken", "expected"),
    [
        # It lost, as it should
        (3, ("3 lost",), ()),
        # It lost, and broke another promise
        (3, ("3 lost", "1 double"), ("1 double",)),
        # It lost nothing: a loss under `always` could not be seen either
        (0, (), ("nothing was lost under everysec: the power cut had no effect",)),
    ],
)
def test_meant_to_lose(lost: int, broken: tuple[str, ...], expected: tuple[str, ...]) -> None:
    result = Result(name="power_everysec", load=9, injected=2, lost=lost, broken=broken)
    assert meant_to_lose(result).broken == expected
