"""When a process that is alive counts as deaf or stuck."""

from __future__ import annotations

from dataclasses import replace

import pytest

from workers.process.liveness import Limits, Liveness, ProcessSample, problem, with_sample

LIMITS = Limits(interval=5, not_consuming=60, stuck=600)
IDLE = ProcessSample(at=0, waiting=0, received=10, busy=0, slots=16)
WAITING = replace(IDLE, waiting=3)


def after(*samples: ProcessSample, every: float = 5, first: ProcessSample = IDLE) -> Liveness:
    """What is known after these samples, one every so many seconds."""
    liveness = Liveness(last=first)
    for number, sample in enumerate(samples, 1):
        liveness = with_sample(liveness, replace(sample, at=number * every), LIMITS)
    return liveness


@pytest.mark.parametrize(
    ("samples", "complains"),
    [
        # Nothing to do
        ([IDLE] * 20, False),
        # Messages wait, room is there, nothing is taken
        ([WAITING] * 12, True),
        ([WAITING] * 11, False),
        # What is taken ends the silence
        ([*[WAITING] * 11, replace(WAITING, received=11), *[replace(WAITING, received=11)] * 11], False),
        # What others take in between does not
        ([*[WAITING] * 6, IDLE, *[WAITING] * 6], True),
        # Every slot is busy, as with slow files: no room to take anything
        ([replace(WAITING, received=26, busy=16)] * 20, False),
        # Redis does not answer: the consumer gets all its time when it is back
        ([*[WAITING] * 11, replace(WAITING, waiting=None), *[WAITING] * 11], False),
        ([replace(WAITING, waiting=None)] * 20, False),
        # One of several slots is stuck in something, the others hear nothing
        ([replace(WAITING, busy=1)] * 12, True),
    ],
)
def test_deaf(samples: list[ProcessSample], complains: bool) -> None:
    assert (problem(after(*samples), LIMITS) is not None) is complains


@pytest.mark.parametrize(
    ("samples", "complains"),
    [
        # All slots busy, none ever done
        ([replace(IDLE, received=26, busy=16)] * 122, True),
        # As many busy, but others: one was done, one more received
        ([replace(IDLE, received=26 + number, busy=16) for number in range(122)], False),
        # One slot is free
        ([replace(IDLE, received=25, busy=15)] * 122, False),
    ],
)
def test_stuck(samples: list[ProcessSample], complains: bool) -> None:
    assert (problem(after(*samples), LIMITS) is not None) is complains


def test_a_process_that_was_frozen_did_not_listen_badly() -> None:
    assert problem(after(WAITING, WAITING, every=3_600), LIMITS) is None


def test_the_complaint_has_the_figures() -> None:
    assert problem(after(*[WAITING] * 12), LIMITS) == (
        "3 messages wait, 16 of 16 slots are free, and nothing was taken from the queue in 60 s of that"
    )
