"""Decides whether a running process has stopped doing its work: pure.

It may have stopped consuming its queue, or be stuck with every slot busy.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ProcessSample:
    """The state of the process at one moment. `waiting` messages are in its queues, or None without an answer."""

    at: float
    waiting: int | None
    received: int
    busy: int
    slots: int

    @property
    def finished(self) -> int:
        """The number of received messages that are done."""
        return self.received - self.busy


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The seconds between two samples, and the seconds without consuming or without progress that are too many."""

    interval: float
    not_consuming: float
    stuck: float


@dataclass(frozen=True, kw_only=True)
class Liveness:
    """The last sample, and the seconds without consuming and without progress so far."""

    last: ProcessSample
    not_consuming: float = 0.0
    stuck: float = 0.0


def with_sample(liveness: Liveness, sample: ProcessSample, limits: Limits) -> Liveness:
    """Return the liveness after one more sample.

    A pause of the whole process counts as two intervals at most. Nothing is consumed during it, which is no fault of
    the consumer.
    """
    passed = min(sample.at - liveness.last.at, 2 * limits.interval)
    makes_no_progress = sample.busy >= sample.slots and sample.finished == liveness.last.finished
    return Liveness(
        last=sample,
        not_consuming=_not_consuming(liveness, sample, passed),
        stuck=liveness.stuck + passed if makes_no_progress else 0.0,
    )


def problem(liveness: Liveness, limits: Limits) -> str | None:
    """Describe what has been wrong for too long; None while there is hope."""
    last = liveness.last
    if liveness.not_consuming >= limits.not_consuming:
        return (
            f"{last.waiting} messages wait, {last.slots - last.busy} of {last.slots} slots are free, and nothing was "
            f"taken from the queue in {liveness.not_consuming:.0f} s of that"
        )
    if liveness.stuck >= limits.stuck:
        return f"all {last.slots} slots are busy and none was done in {liveness.stuck:.0f} s, beyond every deadline"
    return None


def _not_consuming(liveness: Liveness, sample: ProcessSample, passed: float) -> float:
    """Add up the time without a message taken, though one waits and a slot is free.

    An empty queue does not set it back, since other processes may have emptied it; only a message taken does.
    """
    if sample.waiting is None or sample.received != liveness.last.received:
        return 0.0
    could_consume = sample.waiting > 0 and sample.busy < sample.slots
    return liveness.not_consuming + passed if could_consume else liveness.not_consuming
