"""The log level of an attempt's end depends on its error."""

from __future__ import annotations

import logging

import pytest

from shared.errors import BudgetExhausted, FrontUnavailable
from workers.attempts.run import log_level_of


@pytest.mark.parametrize(
    ("error", "level"),
    [
        # These are no attempts, and a thousand waiting tasks would fill the log
        (BudgetExhausted("no budget", retry_after=3.0), logging.DEBUG),
        (FrontUnavailable("503"), logging.INFO),
        (TypeError("oops"), logging.ERROR),
    ],
)
def test_an_error_has_a_log_level(error: BaseException, level: int) -> None:
    assert log_level_of(error) == level
