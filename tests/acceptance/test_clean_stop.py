"""A stop in the middle of the work leaves no process, loses nothing and does nothing twice."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from bench.harness.processes import wait_until
from tests.acceptance.judging import violation_counts

if TYPE_CHECKING:
    from tests.acceptance.conftest import Start
    from tests.acceptance.stack import Stack

COMPANY, DESK = "cmp_stop", "desk@stop.example"
MESSAGES, SIZE = 4, 25 * 2**20  # as many downloads as one tenant may have at a time
SLOW_SECONDS = 20


def send(stack: Stack, **order: object) -> None:
    to = [{"handle": DESK, "role": "to"}]
    stack.front.send("inbound_received", COMPANY, recipients=to, expect="archived", **order)


def downloads(stack: Stack) -> int:
    """Return the number of downloads that were begun."""
    return sum(call["route"] == "/download/{id}" for call in stack.front.calls())


@pytest.mark.timeout(300)
def test_a_stop_gives_back_running_downloads(start: Start) -> None:
    stack = start()
    stack.add_tenant("Stop", COMPANY, action="archive", people={DESK: ""})
    stack.front.fault("slow_body", path_regex="^/download/", seconds=SLOW_SECONDS)
    send(stack, count=MESSAGES, attachments=[{"filename": "film.mp4", "size": SIZE}])
    assert wait_until(lambda: downloads(stack) == MESSAGES, 30), stack.tail()

    asked = time.monotonic()
    stack.ask_to_stop()
    code, left = stack.stopped(), stack.tree.left_after(5)
    print(f"stop: {MESSAGES} downloads running, ended after {time.monotonic() - asked:.1f} s")
    assert (code, left) == (0, [])
    assert stored(stack) == []

    stack.front.heal()
    stack.start()
    stack.settle(within=120)
    print(f"stop: {downloads(stack)} downloads in all, then stored {stored(stack)}")
    assert violation_counts(stack) == (0,) * 5
    assert stack.front.verdict()["effects"] == MESSAGES
    assert stored(stack) == [SIZE] * MESSAGES
    assert stack.rows("SELECT DISTINCT attempts FROM tasks") == [(1,)]  # a give-back is no attempt


@pytest.mark.timeout(200)
def test_after_a_kill_of_up_no_process_is_left_and_it_starts_again(start: Start) -> None:
    stack = start("--latency-ms", "100")
    stack.add_tenant("Stop", COMPANY, action="archive", people={DESK: ""})
    send(stack, count=20)
    stack.kill()
    killed = time.monotonic()
    assert stack.tree.left_after(10) == []
    print(f"kill: everything was gone {time.monotonic() - killed:.1f} s after `mailroom up`")
    stack.start()
    send(stack, count=20)
    stack.settle(within=180)
    assert violation_counts(stack) == (0,) * 5


def stored(stack: Stack) -> list[int]:
    """Return the sizes of all files below the storage folder, half-written ones included."""
    return [each.stat().st_size for each in (stack.data / "files").rglob("*") if each.is_file()]
