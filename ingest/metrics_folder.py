"""The folder in which the door's processes add up their metrics: one for each run, gone with it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "mailroom-metrics-"


@contextmanager
def metrics_folder(parent: Path | None = None) -> Iterator[str]:
    """A fresh folder named after this process; those of doors that were killed go first."""
    parent = parent or Path(tempfile.gettempdir())
    for old in parent.glob(f"{PREFIX}*"):
        if not _runs(old.name.removeprefix(PREFIX).partition("-")[0]):
            shutil.rmtree(old, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{PREFIX}{os.getpid()}-", dir=parent) as folder:
        yield folder


def _runs(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError):
        return False
    except OSError:
        return True  # somebody else's
    return True
