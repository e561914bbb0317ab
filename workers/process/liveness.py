"""Decides whether a process that is alive has stopped doing its work: deaf to its queue, or stuck in every slot."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Look:
    """What is seen of the process at a moment; `waiting` messages in its queues, None when Redis did not answer."""

    at: float
    waiting: int | None
    received: int
    busy: int
    slots: int

    @property
    def finished(self) -> int:
        """How many of the received messages are done with."""
        return self.received - self.busy


@dataclass(frozen=True, kw_only=True)
class Patience:
    """Seconds: how often to look, and for how long to bear what should not be."""

    look: float
    deaf: float
    stuck: float


@dataclass(frozen=True, kw_only=True)
class Watched:
    """The last look, and for how long what should not be was seen."""

    last: Look
    deaf: float = 0.0
    stuck: float = 0.0


def watch(before: Watched, look: Look, patience: Patience) -> Watched:
    """What is known after one more look.

    A pause of the whole process counts as one look: nobody listens then, and that is no fault of the listening.
    """
    passed = min(look.at - before.last.at, 2 * patience.look)
    return Watched(
        last=look,
        deaf=_deaf(before, look, passed),
        stuck=before.stuck + passed if look.busy >= look.slots and look.finished == before.last.finished else 0.0,
    )


def _deaf(before: Watched, look: Look, passed: float) -> float:
    """Only what was taken from the queue ends the silence, an empty queue does not: others may have emptied it."""
    if look.waiting is None or look.received != before.last.received:
        return 0.0
    listens = look.waiting > 0 and look.busy < look.slots
    return before.deaf + passed if listens else before.deaf


def complaint(watched: Watched, patience: Patience) -> str | None:
    """What is wrong for too long, in words; None while there is hope."""
    look = watched.last
    if watched.deaf >= patience.deaf:
        return (
            f"{look.waiting} messages wait, {look.slots - look.busy} of {look.slots} slots are free, and nothing was "
            f"taken from the queue in {watched.deaf:.0f} s of that"
        )
    if watched.stuck >= patience.stuck:
        return f"all {look.slots} slots are busy and none was done in {watched.stuck:.0f} s, beyond every deadline"
    return None
