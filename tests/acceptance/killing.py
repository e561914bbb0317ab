"""Kill a process while it holds work: suspend it, inspect it, and only then kill it."""

from __future__ import annotations

import random
import signal
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from bench.harness.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Held = Callable[[Sequence[psutil.Process]], str]

HOLDS_WORK_WITHIN = 40.0  # seconds
BACK_WITHIN = 60.0
BURST_EVERY = 5.0
TCP = Path("/proc/net/tcp")
ESTABLISHED = "01"


@dataclass(frozen=True, kw_only=True)
class Victim:
    """A kind of process.

    `find` returns all processes to suspend, the one to kill first. `held` describes the work that they hold while they
    are suspended, or returns nothing. `works` tells whether the successor does its work. With `with_children` all of
    them are killed. With `needs_burst` it is so quick that it holds work only under much work at once.
    """

    name: str
    find: Callable[[], list[psutil.Process]]
    held: Held
    works: Callable[[psutil.Process], bool]
    with_children: bool = False
    needs_burst: bool = False


def kill_at_work(victim: Victim, send_burst: Callable[[], None]) -> str:
    """Kill it with SIGKILL while it holds work, wait until its successor works, and return the work that it held.

    `send_burst` sends much work at once.
    """
    began = time.monotonic()
    bursts = 0
    while (elapsed := time.monotonic() - began) < HOLDS_WORK_WITHIN:
        if victim.needs_burst and elapsed >= bursts * BURST_EVERY:
            bursts += 1
            send_burst()
        found = victim.find()
        if found and (held := _kill_if_holding(victim, found)):
            _await_successor(victim, found[0])
            return held
        time.sleep(random.uniform(0.005, 0.05))
    raise AssertionError(f"{victim.name} never held work within {HOLDS_WORK_WITHIN:g} s")


def _await_successor(victim: Victim, dead: psutil.Process) -> None:
    back = wait_until(lambda: _is_back(victim, dead), BACK_WITHIN)
    assert back, f"{victim.name} was not started again within {BACK_WITHIN:g} s"


def _kill_if_holding(victim: Victim, found: Sequence[psutil.Process]) -> str:
    with _suspended(found):
        held = victim.held(found)
        if held:
            for process in found if victim.with_children else found[:1]:
                _signal(process, signal.SIGKILL)
    return held


def _is_back(victim: Victim, dead: psutil.Process) -> bool:
    found = victim.find()
    return bool(found) and found[0] != dead and not dead.is_running() and victim.works(found[0])


@contextmanager
def _suspended(found: Sequence[psutil.Process]) -> Iterator[None]:
    try:
        for process in found:
            _signal(process, signal.SIGSTOP)
        yield
    finally:
        for process in found:
            _signal(process, signal.SIGCONT)


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def connections(process: psutil.Process) -> list[tuple[int, int]]:
    """Return the (own, other) ports of its connections."""
    try:
        found = process.net_connections(kind="tcp4")
    except psutil.NoSuchProcess:
        return []
    return [(each.laddr.port, each.raddr.port) for each in found if each.raddr]


def unread_bytes() -> dict[tuple[int, int], int]:
    """Return the bytes that have arrived at this machine's connections unread, by (own, other) port."""
    unread = {}
    for line in TCP.read_text().splitlines()[1:]:
        _, local, remote, state, queues, *_ = line.split()
        if state == ESTABLISHED and (waiting := int(queues.split(":")[1], 16)):
            unread[_port(local), _port(remote)] = waiting
    return unread


def _port(address: str) -> int:
    return int(address.split(":")[1], 16)
