"""The metrics folder goes with the door, also after a kill."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from ingest.__main__ import METRICS_PREFIX, metrics_folder


def test_the_folder_is_removed_when_the_door_ends(tmp_path: Path) -> None:
    with metrics_folder(tmp_path) as folder:
        assert list(tmp_path.iterdir()) == [Path(folder)]
    assert list(tmp_path.iterdir()) == []


def test_a_killed_doors_folder_is_removed_and_a_running_ones_stays(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    killed_doors, running_doors = (
        tmp_path / f"{METRICS_PREFIX}{ended.pid}-x",
        tmp_path / f"{METRICS_PREFIX}{os.getppid()}-x",
    )
    killed_doors.mkdir()
    running_doors.mkdir()
    with metrics_folder(tmp_path):
        assert (killed_doors.exists(), running_doors.exists()) == (False, True)
