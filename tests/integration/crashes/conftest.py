"""The fixture of the crash tests: a deployment for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.crashes.deployment import Deployment
from tests.integration.pipeline.harness import Harness

NORA = "nora@acme.example"


@pytest.fixture
def deployment(database: str, redis_db: str, tmp_path: Path) -> Iterator[Deployment]:
    """A deployment with one tenant and one user; the test starts the processes."""
    deployment = Deployment(Harness(database, redis_db, tmp_path / "files"), tmp_path)
    try:
        deployment.harness.user(deployment.harness.tenant("cmp_acme"), NORA)
        yield deployment
    finally:
        deployment.close()
