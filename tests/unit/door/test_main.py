"""The metrics folder goes with the door, also after a kill."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ingest.__main__ import METRICS_PREFIX, metrics_folder
from shared.errors import ConfigurationError


def test_the_folder_is_removed_when_the_door_ends(tmp_path: Path) -> None:
    with metrics_folder(tmp_path) as folder:
        assert [str(each) for each in tmp_path.iterdir()] == [folder]
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


def test_a_folder_that_somebody_chose_is_used_and_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    with metrics_folder() as folder:
        assert folder == str(tmp_path)
    assert tmp_path.exists()


def test_a_chosen_folder_that_is_not_there_is_a_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(ConfigurationError, match="PROMETHEUS_MULTIPROC_DIR: cannot write to "), metrics_folder():
        pass
