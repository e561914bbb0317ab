"""Failpoints: named places where a test makes a process die, freeze or break, to show that nothing is lost there.

A process reads `MAILROOM_CRASH_AT=point[:how[:of]]` once, when it starts. The failpoint fires the first time that the
process reaches the point. `of` limits it to one kind of work, at points that name theirs: `claimed_before_run` names
the kind of the task.
"""

from __future__ import annotations

import ctypes
import os
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

POINTS = (
    "received_before_keep",  # the door: nothing is kept yet, and Front gets no answer
    "kept_before_answer",
    "kept_before_ring",  # the door: no recorder is woken
    "marked_before_record",  # the recorder: the chunk is marked as in work
    "recorded_before_dispatch",
    "recorded_before_delete",
    "queued_before_send",
    "claimed_before_run",
    "half_stored",
    "stored_before_settle",
    "intent_before_patch",
    "patched_before_confirm",
    "sent_before_settle",  # the host application took a notification, and no row says so yet
    "refreshed_before_commit",  # Front gave new tokens, and no row has them yet
    "deleted_before_forgotten",  # retention: files are gone, and the rows still list them as to be deleted
    "page_fed_before_next",  # a repair: between two pages of Front's list
    "taken_back_before_dispatch",  # the sweeper: in the middle of a round
)


@dataclass(frozen=True, kw_only=True)
class Crash:
    """The point at which a process crashes, how, and at what kind of work; an empty `of` is any kind."""

    point: str
    how: str = "kill"
    of: str = ""


def parse(text: str) -> Crash | None:
    """Parse a value of MAILROOM_CRASH_AT; None when it is empty. Raises ValueError, which lists the known words."""
    if not text:
        return None
    point, _, rest = text.partition(":")
    how, _, of = rest.partition(":")
    crash = Crash(point=point, how=how or "kill", of=of)
    if crash.point not in POINTS:
        raise ValueError(f"no such point; one of {', '.join(POINTS)}")
    if crash.how not in EFFECTS:
        raise ValueError(f"no such way; one of {', '.join(EFFECTS)}")
    return crash


def arm(text: str) -> None:
    """Let this process crash once, as a value of MAILROOM_CRASH_AT says. Raises ValueError as `parse` does."""
    _Armed.crash = parse(text)


def reach(point: str, *, of: str = "") -> None:
    """Crash here if this process is armed for this point and this kind of work; otherwise do nothing."""
    crash = _Armed.crash
    if crash is not None and crash.point == point and crash.of in {"", of}:
        _Armed.crash = None
        os.write(2, f"failpoint {point}: {crash.how}\n".encode())
        EFFECTS[crash.how]()


class _Armed:
    """The crash that this process is armed for, until it fires."""

    crash: Crash | None = None


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _stop() -> None:
    # If the signal went to the process, another thread might take it, and this one would run on for a moment.
    signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)


def _exit() -> None:
    raise SystemExit("a failpoint")


def _memory() -> None:
    raise MemoryError("a failpoint")


def _error() -> None:
    raise RuntimeError("a failpoint")


def _segv() -> None:
    ctypes.string_at(0)


EFFECTS: Mapping[str, Callable[[], None]] = {
    "kill": _kill,
    "stop": _stop,
    "exit": _exit,
    "memory": _memory,
    "error": _error,
    "segv": _segv,
}
