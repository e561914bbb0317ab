"""Kills a process while it holds work: it is stopped, looked at, and only then killed."""

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

HOLDS_WITHIN = 40.0  # seconds
BACK_WITHIN = 60.0
CROWD_EVERY = 5.0
TCP = Path("/proc/net/tcp")
ESTABLISHED = "01"


@dataclass(frozen=True, kw_only=True)
class Victim:
    """A kind of process.

    `find` gives all that are to be stopped, the one to be killed first; `held` tells what they hold while they are
    stopped, in words, or nothing; `works` whether the successor does its work. `with_children`: all of them die;
    `in_a_crowd`: it is so quick that it needs much work at once to be caught with any.
    """

    name: str
    find: Callable[[], list[psutil.Process]]
    held: Held
    works: Callable[[psutil.Process], bool]
    with_children: bool = False
    in_a_crowd: bool = False


def kill_at_work(victim: Victim, crowd: Callable[[], None]) -> str:
    """Kill it with SIGKILL while it holds work, wait until its successor works; what it held.

    `crowd` brings much work at once.
    """
    began = time.monotonic()
    crowds = 0
    while (elapsed := time.monotonic() - began) < HOLDS_WITHIN:
        if victim.in_a_crowd and elapsed >= crowds * CROWD_EVERY:
            crowds += 1
            crowd()
        found = victim.find()
        if found and (held := _kill_if_it_holds(victim, found)):
            _await_successor(victim, found[0])
            return held
        time.sleep(random.uniform(0.005, 0.05))
    raise AssertionError(f"{victim.name} never held work within {HOLDS_WITHIN:g} s")


def _await_successor(victim: Victim, dead: psutil.Process) -> None:
    back = wait_until(lambda: _is_back(victim, dead), BACK_WITHIN)
    assert back, f"{victim.name} was not started again within {BACK_WITHIN:g} s"


def _kill_if_it_holds(victim: Victim, found: Sequence[psutil.Process]) -> str:
    with _stopped(found):
        held = victim.held(found)
        if held:
            for process in found if victim.with_children else found[:1]:
                _signal(process, signal.SIGKILL)
    return held


def _is_back(victim: Victim, dead: psutil.Process) -> bool:
    found = victim.find()
    return bool(found) and found[0] != dead and not dead.is_running() and victim.works(found[0])


@contextmanager
def _stopped(found: Sequence[psutil.Process]) -> Iterator[None]:
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
    """The (own, other) ports of its connections."""
    try:
        found = process.net_connections(kind="tcp4")
    except psutil.NoSuchProcess:
        return []
    return [(each.laddr.port, each.raddr.port) for each in found if each.raddr]


def unread_bytes() -> dict[tuple[int, int], int]:
    """What has arrived on the connections of this machine and was not read, by (own, other) port."""
    unread = {}
    for line in TCP.read_text().splitlines()[1:]:
        _, local, remote, state, queues, *_ = line.split()
        if state == ESTABLISHED and (waiting := int(queues.split(":")[1], 16)):
            unread[_port(local), _port(remote)] = waiting
    return unread


def _port(address: str) -> int:
    return int(address.split(":")[1], 16)
