"""Fixtures of the tests of the hand-over: a Mailroom without processes, and a host application as a process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.host.delivering import HostApplication, Mailroom


@pytest.fixture
def mailroom(database: str, redis_db: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mailroom]:
    """A Mailroom without processes, which may send to loopback addresses."""
    monkeypatch.setenv("ENDPOINT_NETWORKS", "127.0.0.0/8")
    monkeypatch.setenv("SECRET_KEY", "a key for the links to files in the tests")
    running = Mailroom(database, redis_db, tmp_path / "files")
    yield running
    running.close()


@pytest.fixture
def host() -> Iterator[HostApplication]:
    """A host application, in a process of its own."""
    with HostApplication() as running:
        yield running
