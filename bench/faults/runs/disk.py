"""A disk that is full: files wait for room, everything else goes on, and no part of a file is left."""

from __future__ import annotations

import subprocess
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import psutil

from bench.faults.run import Run
from bench.harness.mailroom import expect
from bench.harness.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bench.faults.result import Result
    from bench.faults.run import Suite
    from bench.faults.scene import Scene

SETTLES_WITHIN = 200.0
FILE_BYTES = 400_000
SMALL = "6m"


def disk_full(suite: Suite) -> Result:
    """A small file system where one can be mounted, else a limit on what the workers may write."""
    folder = suite.folder / "disk"
    with _small_disk(folder) as is_mounted, suite.scene("disk_full", STORAGE_URL=f"file://{folder}/files") as scene:
        make_room = partial(_resize, folder, "1g") if is_mounted else _limited(scene)
        with scene.mail(per_second=15, files_each=2, attachments=[]):
            with scene.mail(per_second=10, attachments=[{"size": FILE_BYTES}]):
                expect(lambda: bool(_outage(scene)), 60, "the disk is known to be full")
                scene.injected += 1
                time.sleep(suite.pick(8, 300))
            [(code, since)] = _outage(scene)
            broken = [] if code == "storage_full" else [f"the outage is called {code}"]
            idle = scene.mailroom.rows("SELECT count(*) FROM actions WHERE settled_at > %s", since)
            broken += [] if idle[0][0] else ["nothing else went on"]
            make_room()
        wait_until(lambda: not scene.mailroom.unsettled(), SETTLES_WITHIN, every=0.5)
        broken += _left_behind(scene, folder / "files") + _charged(scene)
        how = "a small file system" if is_mounted else "a limit on what a worker may write"
        note = f"{how}; {idle[0][0]} actions while it was full"
        return scene.judge(within=SETTLES_WITHIN, note=note, broken=broken)


@contextmanager
def _small_disk(folder: Path) -> Iterator[bool]:
    """A file system of a few MB at `folder`; False where only root may have one."""
    folder.mkdir()
    mounted = _quietly("mount", "-t", "tmpfs", "-o", f"size={SMALL}", "tmpfs", str(folder))
    try:
        yield mounted
    finally:
        if mounted:
            _quietly("umount", "--lazy", str(folder))


def _resize(folder: Path, size: str) -> None:
    assert _quietly("mount", "-o", f"remount,size={size}", str(folder)), "the file system could not be made larger"


def _limited(scene: Scene) -> Callable[[], None]:
    """Let the workers write no file of the size that comes; how to lift that."""
    workers = [psutil.Process(pid) for pid in scene.platform.pids("worker")]
    before = [worker.rlimit(psutil.RLIMIT_FSIZE) for worker in workers]

    def limit(number: int) -> None:
        for worker, (_, hard) in zip(workers, before, strict=True):
            worker.rlimit(psutil.RLIMIT_FSIZE, (number, hard))

    limit(FILE_BYTES // 2)
    return partial(limit, before[0][0])


def _quietly(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=10, check=False).returncode == 0
    except OSError:
        return False


def _outage(scene: Scene) -> list[tuple[str, object]]:
    return [(code, since) for code, since in scene.mailroom.rows("SELECT code, since FROM outages")]


def _left_behind(scene: Scene, files: Path) -> list[str]:
    """Every file is one that a row knows, and has the size that the row says."""
    there = {str(path.relative_to(files)): path.stat().st_size for path in files.rglob("*") if path.is_file()}
    known = dict(scene.mailroom.rows("SELECT path, size FROM attachments WHERE state = 'stored'"))
    wrong = [path for path in there | known if there.get(path) != known.get(path)]
    return [f"{len(wrong)} files are not what their rows say, as {wrong[0]}"] if wrong else []


def _charged(scene: Scene) -> list[str]:
    [(attempts, failed)] = scene.mailroom.rows(
        "SELECT max(attempts), count(*) FILTER (WHERE state = 'failed') FROM tasks"
    )
    found = [f"{failed} tasks failed"] if failed else []
    # A file that finds no room while another one does is tried again: that is counted, and never too often.
    return [*found, f"a task was charged {attempts} attempts"] if attempts > 4 else found


RUNS = (
    Run(
        name="disk_full",
        promise="no room for files: they wait and lose no attempt, nothing else waits, no part of a file is left",
        do=disk_full,
        in_ci=True,
    ),
)
