"""A site for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.crashes.site import Site
from tests.integration.pipeline.rig import Rig

NORA = "nora@acme.example"


@pytest.fixture
def site(database: str, redis_db: str, tmp_path: Path) -> Iterator[Site]:
    """A Mailroom with one tenant and one user, whose processes the test starts."""
    site = Site(Rig(database, redis_db, tmp_path / "files"), tmp_path)
    try:
        site.rig.user(site.rig.tenant("cmp_acme"), NORA)
        yield site
    finally:
        site.close()
