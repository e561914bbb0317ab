"""How loudly the end of an attempt is logged."""

from __future__ import annotations

import logging

import pytest

from shared.errors import BudgetExhausted, FrontUnavailable
from workers.attempts.run import log_level_of


@pytest.mark.parametrize(
    ("error", "level"),
    [
        # No attempt: a thousand waiting tasks would fill the log
        (BudgetExhausted("no budget", retry_after=3.0), logging.DEBUG),
        (FrontUnavailable("503"), logging.INFO),
        (TypeError("oops"), logging.ERROR),
    ],
)
def test_what_ended_an_attempt_is_as_loud_as_it_is_rare(error: BaseException, level: int) -> None:
    assert log_level_of(error) == level
