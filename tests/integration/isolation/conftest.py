"""A pipeline whose companies may have the same ids."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.pipeline.rig import Rig


@pytest.fixture
def rig(database: str, redis_db: str, tmp_path: Path) -> Iterator[Rig]:
    """Mailroom and Front, without processes."""
    rig = Rig(database, redis_db, tmp_path / "files")
    yield rig
    rig.close()
