"""Processes of this machine: their state, their children, and waits for a condition."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable


class Tree:
    """Remembers all processes seen below a root, so that none is left behind unnoticed.

    It holds process objects: a process id alone may belong to another process later.
    """

    def __init__(self) -> None:
        self._seen: set[psutil.Process] = set()

    def note(self, root: int) -> None:
        """Remember the processes that run there now."""
        try:
            process = psutil.Process(root)
            self._seen |= {process, *process.children(recursive=True)}
        except psutil.NoSuchProcess:
            return

    def alive(self) -> list[psutil.Process]:
        """Return those that still run; a zombie does not."""
        return [process for process in self._seen if is_alive(process)]

    def left_after(self, seconds: float) -> list[str]:
        """Return the command lines of those that still run then; return earlier when there are none."""
        wait_until(lambda: not self.alive(), seconds)
        return [_command_line(process) for process in self.alive()]

    def kill(self) -> None:
        """Kill all that are left."""
        for process in self.alive():
            process.kill()


def children_of(pid: int) -> list[psutil.Process]:
    """Return the children that run; none of a process that has ended."""
    try:
        return [child for child in psutil.Process(pid).children() if is_alive(child)]
    except psutil.NoSuchProcess:
        return []


def is_alive(process: psutil.Process) -> bool:
    """Tell whether it runs and is no zombie."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _command_line(process: psutil.Process) -> str:
    try:
        return f"{process.pid} {' '.join(process.cmdline())}"
    except psutil.Error:
        return str(process.pid)


def wait_until(fact: Callable[[], bool], seconds: float, every: float = 0.05) -> bool:
    """Wait until the fact is true; tell whether it became true in time."""
    deadline = time.monotonic() + seconds
    while not fact():
        if time.monotonic() > deadline:
            return False
        time.sleep(every)
    return True


def expect(fact: Callable[[], Any], seconds: float, what: str) -> None:
    """Wait until the fact is true. Raises AssertionError when it does not become true in time."""
    assert wait_until(fact, seconds, every=0.1), f"not within {seconds:g} s: {what}"
