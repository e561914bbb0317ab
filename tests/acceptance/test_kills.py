"""Every kind of process is killed several times while it holds work, under constant load."""

from __future__ import annotations

import itertools
import sys
import threading
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Self

import pytest

from tests.acceptance.judging import events_without_one_row, violation_counts
from tests.acceptance.killing import kill_at_work
from tests.acceptance.victims import Victims

if TYPE_CHECKING:
    from tests.acceptance.conftest import Start
    from tests.acceptance.stack import Stack

COMPANIES = [f"cmp_load{number}" for number in range(6)]
FRONT = (
    *("--requests-per-minute", "6000", "--burst-per-second", "0", "--latency-ms", "300"),
    *("--retry-seconds", "1", "--tries", "20"),
)
ROUNDS = 1
PER_SECOND = 8  # events a second
BURST = 20  # events of each company at once


class Load:
    """Mail to all companies in turns, sent as long as the context lasts."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._stop = threading.Event()
        self._companies = itertools.cycle(COMPANIES)
        self._thread = threading.Thread(target=self._send, name="load", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def send_burst(self) -> None:
        """Send much mail of every company at once."""
        for _ in COMPANIES:
            self._order(BURST)

    def _send(self) -> None:
        for number in itertools.count():
            self._order(PER_SECOND, rate=PER_SECOND, attachment_count=int(number % 4 == 0))
            if self._stop.wait(1.0):
                return

    def _order(self, count: int, **order: float) -> None:
        company = next(self._companies)
        to = [{"handle": f"desk@{company}.example", "role": "to"}]
        self._stack.front.send(
            "inbound_received", company, recipients=to, expect="archived", wait=False, count=count, **order
        )


@pytest.mark.skipif(sys.platform != "linux", reason="what a stopped process holds is read from /proc")
@pytest.mark.timeout(600)
def test_no_kill_loses_or_repeats_work(start: Start) -> None:
    stack = start(*FRONT, WORKER_THREADS="32", LEASE_SECONDS="20")
    for company in COMPANIES:
        stack.add_tenant(company, company, action="archive", people={f"desk@{company}.example": ""})
    began, held = time.monotonic(), defaultdict(list)
    with Load(stack) as load:
        for victim in Victims(stack).all() * ROUNDS:
            held[victim.name].append(kill_at_work(victim, load.send_burst))
            print(f"{time.monotonic() - began:4.0f} s  {victim.name}: {held[victim.name][-1]}")
            stack.note()
    killed = time.monotonic()
    stack.settle(within=240)
    for name, what in held.items():
        print(f"kills: {len(what)} × {name}: {', '.join(what)}")
    print(f"kills: {killed - began:.0f} s of kills, all done {time.monotonic() - killed:.0f} s later")
    print(f"kills: rescued {stack.json('status')['rescued']}")
    assert violation_counts(stack) == (0,) * 5
    assert events_without_one_row(stack) == []
