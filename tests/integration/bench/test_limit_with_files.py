"""A backlog with files, in a file of its own so that another process works it off at the same time."""

from __future__ import annotations

import pytest

from bench.limit import Case
from tests.integration.bench.test_limit import (
    figures,
    test_hardly_any_call_is_made_in_vain,
    test_nearly_all_possible_archives_are_made,
)

__all__ = ["figures", "test_hardly_any_call_is_made_in_vain", "test_nearly_all_possible_archives_are_made"]
pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def case() -> Case:
    """Each archive takes the download of a file too."""
    return Case(tenants=1, files=1, workers=3, minute=30, minutes=3)
