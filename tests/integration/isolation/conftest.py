"""A harness for tests with two companies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.pipeline.harness import Harness


@pytest.fixture
def harness(database: str, redis_db: str, tmp_path: Path) -> Iterator[Harness]:
    """A Mailroom and a Front without processes."""
    harness = Harness(database, redis_db, tmp_path / "files")
    yield harness
    harness.close()
