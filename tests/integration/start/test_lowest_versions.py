"""The lowest versions that pyproject.toml allows run the command line and the unit tests of what uses them."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
#: The folders whose code meets click, pydantic, Flask, structlog and the clients of the stores.
FOLDERS = ("tests/unit/console", "tests/unit/door", "tests/unit/front", "tests/unit/shared", "tests/unit/web")
#: The tests of a library that need a small peer of their own, and no server.
FILES = ("tests/integration/console/test_openid_metadata.py",)


@pytest.mark.timeout(600)  # the first time it installs some 110 packages
def test_the_lowest_versions_work() -> None:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV", "VIRTUAL_ENV"))}
    ended = subprocess.run(
        [ROOT / "run", "lowest", "-x", *FOLDERS, *FILES], cwd=ROOT, env=own, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout[-4000:] + ended.stderr[-4000:]
    assert re.search(r"\d+ passed(, \d+ skipped)? in ", ended.stdout)
