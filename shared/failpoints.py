"""Named places where a process can be made to die, freeze or break: for tests that show that nothing is lost there.

`MAILROOM_CRASH_AT=point[:how[:of]]`, read once when a process starts, fires the first time this process gets there;
`of` narrows it down where the place says what it works on (`claimed_before_run` names the task's kind).
"""

from __future__ import annotations

import ctypes
import os
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

POINTS = (
    "received_before_keep",  # the door: nothing is kept yet, Front hears nothing
    "kept_before_answer",
    "kept_before_ring",  # no recorder is told
    "marked_before_record",  # the recorder: the chunk is in work
    "recorded_before_dispatch",
    "recorded_before_delete",
    "queued_before_send",
    "claimed_before_run",
    "half_stored",
    "stored_before_settle",
    "intent_before_patch",
    "patched_before_confirm",
    "refreshed_before_commit",  # Front gave new tokens, and no row has them
    "deleted_before_forgotten",  # retention: files are gone, and still named as to be deleted
    "page_fed_before_next",  # a repair, between two pages of Front's list
    "taken_back_before_dispatch",  # the sweeper, in the middle of a round
)


@dataclass(frozen=True, kw_only=True)
class Crash:
    """Where, how, and at what kind of work (empty: any)."""

    point: str
    how: str = "kill"
    of: str = ""


def read(text: str) -> Crash | None:
    """What a value of MAILROOM_CRASH_AT asks for; None for an empty one. Raises ValueError that lists what is known."""
    if not text:
        return None
    point, _, rest = text.partition(":")
    how, _, of = rest.partition(":")
    crash = Crash(point=point, how=how or "kill", of=of)
    if crash.point not in POINTS:
        raise ValueError(f"no such point; one of {', '.join(POINTS)}")
    if crash.how not in HOW:
        raise ValueError(f"no such way; one of {', '.join(HOW)}")
    return crash


def arm(text: str) -> None:
    """Fire as this value of MAILROOM_CRASH_AT says, once."""
    _Armed.crash = read(text)


def reach(point: str, *, of: str = "") -> None:
    """This process gets to the point now. Does nothing unless it is armed for it."""
    crash = _Armed.crash
    if crash is not None and crash.point == point and crash.of in {"", of}:
        _Armed.crash = None
        os.write(2, f"failpoint {point}: {crash.how}\n".encode())
        HOW[crash.how]()


class _Armed:
    """What this process waits for."""

    crash: Crash | None = None


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _stop() -> None:
    # Sent to the process, another thread may take it, and this one would get on for a moment.
    signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)


def _exit() -> None:
    raise SystemExit("a failpoint")


def _memory() -> None:
    raise MemoryError("a failpoint")


def _error() -> None:
    raise RuntimeError("a failpoint")


def _segv() -> None:
    ctypes.string_at(0)


HOW: Mapping[str, Callable[[], None]] = {
    "kill": _kill,
    "stop": _stop,
    "exit": _exit,
    "memory": _memory,
    "error": _error,
    "segv": _segv,
}
