"""Give every test the servers' fixtures and the mark of its folder, and start the files that take long first."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

pytest_plugins = ["tests.chromium", "tests.servers"]

FOLDER = Path(__file__).parent
#: The files that take longest, the longest first: a file that starts late would keep one process busy after the others.
#: Those that mostly wait come between those that mostly compute.
LONG = (
    "acceptance/test_faults.py",
    "integration/bench/test_limit.py",
    "acceptance/test_kills.py",
    "acceptance/test_console.py",
    "integration/bench/test_limit_with_files.py",
    "acceptance/test_thousand.py",
    "integration/start/test_lowest_versions.py",
    "integration/start/test_image.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with its folder (unit, integration or acceptance), and move the tests of LONG to the front."""
    for item in items:
        if item.path.is_relative_to(FOLDER):
            item.add_marker(item.path.relative_to(FOLDER).parts[0])
    order = {FOLDER / name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: order.get(item.path, len(LONG)))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep the tests out of the garbage collector, which would go through all of them again and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()
