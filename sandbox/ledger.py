"""What was sent and what was called, kept in memory and as JSON lines in a file."""

from __future__ import annotations

import json
import threading
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from sandbox.percentiles import percentiles

if TYPE_CHECKING:
    from pathlib import Path

PROMPT_SECONDS = 2.0
#: Nobody listened, or the process ended: no response, so neither a prompt one nor a late one. A timeout is a late one.
NO_DOOR = frozenset({"refused", "reset"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One request to the API, as it was answered; `status` 0 is no response at all."""

    at: float
    method: str
    path: str
    route: str
    status: int
    company: str | None = None
    conversation: str | None = None
    fault: str | None = None
    wrong_token: bool = False
    early: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Try:
    """One attempt to deliver an event; `status` is a code or a word for why there is none."""

    at: float
    event_id: str
    number: int
    status: int | str
    seconds: float

    @property
    def acknowledged(self) -> bool:
        """Whether the door took it."""
        return isinstance(self.status, int) and 200 <= self.status < 300


def _plain(record: Call | Try) -> dict[str, Any]:
    """Its fields, none of which holds more than a value."""
    return {name: getattr(record, name) for name in record.__slots__}


class Ledger:
    """Counts and records from several threads at once."""

    def __init__(self, path: Path | None) -> None:
        self._lock = threading.Lock()
        self._file: TextIO | None = None
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a", encoding="utf-8", buffering=1)
        self.clear()

    def clear(self) -> None:
        """Count from zero; the file keeps what it has."""
        with self._lock:
            self.sent: set[str] = set()
            self.acknowledged: set[str] = set()
            self._calls: list[Call] = []
            self._seconds: list[float] = []
            self._answered: list[float] = []
            self._statuses: Counter[str] = Counter()
            self._routes: Counter[str] = Counter()
            self._faults: Counter[str] = Counter()
            self._counts: Counter[str] = Counter()

    def note_call(self, call: Call) -> None:
        """Record a request to the API."""
        with self._lock:
            self._calls.append(call)
            self._routes[f"{call.method} {call.route} {call.status}"] += 1
            self._counts["wrong_token"] += call.wrong_token
            self._counts["early"] += call.early
            if call.fault:
                self._faults[call.fault] += 1
            self._write("call", _plain(call))

    def note_try(self, attempt: Try) -> None:
        """Record an attempt to deliver an event."""
        with self._lock:
            self.sent.add(attempt.event_id)
            self._statuses[str(attempt.status)] += 1
            self._seconds.append(attempt.seconds)
            if attempt.status not in NO_DOOR:
                self._answered.append(attempt.seconds)
            if attempt.acknowledged:
                self.acknowledged.add(attempt.event_id)
            self._write("try", _plain(attempt))

    def note(self, kind: str, record: dict[str, Any]) -> None:
        """Record and count anything else."""
        with self._lock:
            self._counts[kind] += 1
            self._write(kind, record)

    def count(self, kind: str) -> int:
        """How often something of that kind was noted."""
        return self._counts[kind]

    def calls(
        self, *, since: float = 0.0, company: str | None = None, conversation: str | None = None
    ) -> list[dict[str, Any]]:
        """The calls that fit, oldest first."""
        with self._lock:
            return [
                _plain(call)
                for call in self._calls
                if call.at >= since and company in {None, call.company} and conversation in {None, call.conversation}
            ]

    def totals(self) -> dict[str, Any]:
        """All counts at this moment."""
        with self._lock:
            prompt = sum(seconds <= PROMPT_SECONDS for seconds in self._answered)
            return {
                "sent": len(self.sent),
                "tries": len(self._seconds),
                "acknowledged": len(self.acknowledged),
                "statuses": dict(self._statuses),
                "door_seconds": percentiles(self._seconds),
                "door_under_2s": round(prompt / len(self._answered), 4) if self._answered else None,
                "calls": dict(self._routes),
                "faults": dict(self._faults),
                "wrong_token": self._counts["wrong_token"],
                "early": self._counts["early"],
                "elsewhere": self._counts["elsewhere"],
                "leaked_token": self._counts["leaked_token"],
            }

    def close(self) -> None:
        """Write nothing more to the file."""
        with self._lock:
            if self._file:
                self._file.close()
                self._file = None

    def _write(self, kind: str, record: dict[str, Any]) -> None:
        if self._file:
            self._file.write(json.dumps({"what": kind, **record}, default=str) + "\n")
