"""The metrics folder of a killed door does not stay behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from ingest.__main__ import METRICS_PREFIX, metrics_folder


def test_the_folder_is_gone_when_the_door_is(tmp_path: Path) -> None:
    with metrics_folder(tmp_path) as folder:
        assert list(tmp_path.iterdir()) == [Path(folder)]
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_door_left_goes_and_what_a_running_one_needs_stays(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left, needed = tmp_path / f"{METRICS_PREFIX}{gone.pid}-x", tmp_path / f"{METRICS_PREFIX}{os.getppid()}-x"
    left.mkdir()
    needed.mkdir()
    with metrics_folder(tmp_path):
        assert (left.exists(), needed.exists()) == (False, True)
