"""When a process that is alive counts as deaf or stuck."""

from __future__ import annotations

from dataclasses import replace

import pytest

from workers.process.liveness import Look, Patience, Watched, complaint, watch

PATIENCE = Patience(look=5, deaf=60, stuck=600)
IDLE = Look(at=0, waiting=0, received=10, busy=0, slots=16)
WAITING = replace(IDLE, waiting=3)


def after(*looks: Look, every: float = 5, first: Look = IDLE) -> Watched:
    """What is known after these looks, one every so many seconds."""
    watched = Watched(last=first)
    for number, look in enumerate(looks, 1):
        watched = watch(watched, replace(look, at=number * every), PATIENCE)
    return watched


@pytest.mark.parametrize(
    ("looks", "complains"),
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
def test_deaf(looks: list[Look], complains: bool) -> None:
    assert (complaint(after(*looks), PATIENCE) is not None) is complains


@pytest.mark.parametrize(
    ("looks", "complains"),
    [
        # All slots busy, none ever done
        ([replace(IDLE, received=26, busy=16)] * 122, True),
        # As many busy, but others: one was done, one more received
        ([replace(IDLE, received=26 + number, busy=16) for number in range(122)], False),
        # One slot is free
        ([replace(IDLE, received=25, busy=15)] * 122, False),
    ],
)
def test_stuck(looks: list[Look], complains: bool) -> None:
    assert (complaint(after(*looks), PATIENCE) is not None) is complains


def test_a_process_that_was_frozen_did_not_listen_badly() -> None:
    assert complaint(after(WAITING, WAITING, every=3_600), PATIENCE) is None


def test_the_complaint_has_the_figures() -> None:
    assert complaint(after(*[WAITING] * 12), PATIENCE) == (
        "3 messages wait, 16 of 16 slots are free, and nothing was taken from the queue in 60 s of that"
    )
