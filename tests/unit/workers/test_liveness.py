"""A living process counts as deaf when it takes no messages, and as stuck when no slot becomes free."""

from __future__ import annotations

from dataclasses import replace

import pytest

from workers.process.liveness import Limits, Liveness, ProcessSample, problem, with_sample

LIMITS = Limits(interval=5, not_consuming=60, stuck=600)
IDLE = ProcessSample(at=0, waiting=0, received=10, busy=0, slots=16)
WAITING = replace(IDLE, waiting=3)


def after(*samples: ProcessSample, every: float = 5, first: ProcessSample = IDLE) -> Liveness:
    """Return the liveness after these samples, taken every so many seconds."""
    liveness = Liveness(last=first)
    for number, sample in enumerate(samples, 1):
        liveness = with_sample(liveness, replace(sample, at=number * every), LIMITS)
    return liveness


@pytest.mark.parametrize(
    ("samples", "has_problem"),
    [
        # No messages wait
        ([IDLE] * 20, False),
        # Messages wait and slots are free, but nothing is received
        ([WAITING] * 12, True),
        ([WAITING] * 11, False),
        # A received message starts the time anew
        ([*[WAITING] * 11, replace(WAITING, received=11), *[replace(WAITING, received=11)] * 11], False),
        # An empty queue in between does not
        ([*[WAITING] * 6, IDLE, *[WAITING] * 6], True),
        # Every slot is busy, as with slow files
        ([replace(WAITING, received=26, busy=16)] * 20, False),
        # After an outage of Redis the consumer has the whole time again
        ([*[WAITING] * 11, replace(WAITING, waiting=None), *[WAITING] * 11], False),
        ([replace(WAITING, waiting=None)] * 20, False),
        # One slot is busy, and the free ones receive nothing
        ([replace(WAITING, busy=1)] * 12, True),
    ],
)
def test_a_process_that_receives_nothing_is_deaf(samples: list[ProcessSample], has_problem: bool) -> None:
    assert (problem(after(*samples), LIMITS) is not None) is has_problem


@pytest.mark.parametrize(
    ("samples", "has_problem"),
    [
        # All slots are busy, and no task ever ends
        ([replace(IDLE, received=26, busy=16)] * 122, True),
        # As many slots are busy, but with new tasks
        ([replace(IDLE, received=26 + number, busy=16) for number in range(122)], False),
        # One slot is free
        ([replace(IDLE, received=25, busy=15)] * 122, False),
    ],
)
def test_a_process_whose_slots_never_become_free_is_stuck(samples: list[ProcessSample], has_problem: bool) -> None:
    assert (problem(after(*samples), LIMITS) is not None) is has_problem


def test_a_suspended_process_is_not_deaf() -> None:
    assert problem(after(WAITING, WAITING, every=3_600), LIMITS) is None


def test_the_problem_has_the_figures() -> None:
    assert problem(after(*[WAITING] * 12), LIMITS) == (
        "3 messages wait, 16 of 16 slots are free, and nothing was taken from the queue in 60 s of that"
    )
