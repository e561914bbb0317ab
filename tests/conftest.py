"""What every test gets: the servers' fixtures, and the mark of its folder."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["tests.servers"]

FOLDER = Path(__file__).parent
#: Each of these keeps a whole machine busy.
ALONE = {Path("acceptance") / f"test_{name}.py" for name in ("clean_stop", "kills", "story", "thousand")}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test by the folder it lives in: unit, integration, acceptance, browser.

    Where several processes share the tests, a file stays together: its fixtures are made once.
    """
    for item in items:
        if item.path.is_relative_to(FOLDER):
            path = item.path.relative_to(FOLDER)
            item.add_marker(path.parts[0])
            item.add_marker(pytest.mark.xdist_group(path.as_posix() if path not in ALONE else "one after the other"))
