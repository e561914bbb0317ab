"""A door with servers that a test may kill, freeze and fill."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shared.db.core.migrate import migrate
from tests.integration.door.door_process import Door, running_door

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from console.up.embedded import Postgres, Valkey


@pytest.fixture
def door(own_postgres: Postgres, own_valkey: Valkey, tmp_path: Path) -> Iterator[Door]:
    migrate(own_postgres.url)
    with running_door(own_postgres.url, own_valkey.url, tmp_path / "door.log") as door:
        yield door
