"""Which processes a start brought about, so that none of them can be left behind unnoticed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable


class Tree:
    """All processes seen below a root while it ran. A number alone may be a stranger's later; these are not."""

    def __init__(self) -> None:
        self._seen: set[psutil.Process] = set()

    def note(self, root: int) -> None:
        """Remember who runs there now."""
        try:
            process = psutil.Process(root)
            self._seen |= {process, *process.children(recursive=True)}
        except psutil.NoSuchProcess:
            return

    def alive(self) -> list[psutil.Process]:
        """Those that still run; who is dead and only waits to be collected does not."""
        return [process for process in self._seen if is_alive(process)]

    def left_after(self, seconds: float) -> list[str]:
        """The command lines of those that still run then; returns earlier when there are none."""
        wait_until(lambda: not self.alive(), seconds)
        return [described(process) for process in self.alive()]

    def kill(self) -> None:
        """End whoever is left."""
        for process in self.alive():
            process.kill()


def children_of(pid: int) -> list[psutil.Process]:
    """The children that run; none of a process that has ended."""
    try:
        return [child for child in psutil.Process(pid).children() if is_alive(child)]
    except psutil.NoSuchProcess:
        return []


def is_alive(process: psutil.Process) -> bool:
    """Whether it runs, and is no zombie."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def described(process: psutil.Process) -> str:
    """Its number and command line."""
    try:
        return f"{process.pid} {' '.join(process.cmdline())}"
    except psutil.Error:
        return str(process.pid)


def wait_until(fact: Callable[[], bool], seconds: float, every: float = 0.05) -> bool:
    """Whether the fact became true in time."""
    deadline = time.monotonic() + seconds
    while not fact():
        if time.monotonic() > deadline:
            return False
        time.sleep(every)
    return True
