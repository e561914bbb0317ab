"""Give every test the servers' fixtures and the mark of its folder."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["tests.chromium", "tests.servers"]

FOLDER = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with its folder: unit, integration or acceptance."""
    for item in items:
        if item.path.is_relative_to(FOLDER):
            item.add_marker(item.path.relative_to(FOLDER).parts[0])
