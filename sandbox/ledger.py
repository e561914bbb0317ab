"""The record of webhooks sent and API calls received, in memory and as JSON lines in a file."""

from __future__ import annotations

import json
import threading
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PROMPT_SECONDS = 2.0
#: Nobody listened, or the process ended. There was no response, so it counts neither as prompt nor as late.
NO_LISTENER = frozenset({"refused", "reset"})


@dataclass(frozen=True, kw_only=True, slots=True)
class ApiCall:
    """A request to the API, with the status of its response or 0 if there was none."""

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
class DeliveryAttempt:
    """One attempt to deliver an event. `status` is an HTTP status, or a word if there was no response."""

    at: float
    event_id: str
    number: int
    status: int | str
    seconds: float

    @property
    def acknowledged(self) -> bool:
        """Tell whether the door accepted the webhook."""
        return isinstance(self.status, int) and 200 <= self.status < 300


class Ledger:
    """Records and counts calls and deliveries. Several threads may use it at once."""

    def __init__(self, path: Path | None) -> None:
        self._lock = threading.Lock()
        self._file: TextIO | None = None
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a", encoding="utf-8", buffering=1)
        self.clear()

    def clear(self) -> None:
        """Set all counts to zero. The file keeps its lines."""
        with self._lock:
            self.sent: set[str] = set()
            self.acknowledged: set[str] = set()
            self._calls: list[ApiCall] = []
            self._seconds: list[float] = []
            self._answered: list[float] = []
            self._statuses: Counter[str] = Counter()
            self._routes: Counter[str] = Counter()
            self._faults: Counter[str] = Counter()
            self._counts: Counter[str] = Counter()

    def record_call(self, call: ApiCall) -> None:
        """Record a request to the API."""
        with self._lock:
            self._calls.append(call)
            self._routes[f"{call.method} {call.route} {call.status}"] += 1
            self._counts["wrong_token"] += call.wrong_token
            self._counts["early"] += call.early
            if call.fault:
                self._faults[call.fault] += 1
            self._write("call", _fields(call))

    def record_attempt(self, attempt: DeliveryAttempt) -> None:
        """Record an attempt to deliver an event."""
        with self._lock:
            self.sent.add(attempt.event_id)
            self._statuses[str(attempt.status)] += 1
            self._seconds.append(attempt.seconds)
            if attempt.status not in NO_LISTENER:
                self._answered.append(attempt.seconds)
            if attempt.acknowledged:
                self.acknowledged.add(attempt.event_id)
            self._write("try", _fields(attempt))

    def record_incident(self, kind: str, fields: dict[str, Any]) -> None:
        """Record and count anything else, by its kind."""
        with self._lock:
            self._counts[kind] += 1
            self._write(kind, fields)

    @property
    def wrong_tokens(self) -> int:
        """The number of calls with the token of another company."""
        return self._counts["wrong_token"]

    def calls(
        self, *, since: float = 0.0, company: str | None = None, conversation: str | None = None
    ) -> list[dict[str, Any]]:
        """The calls that match every given filter, oldest first."""
        with self._lock:
            return [
                _fields(call)
                for call in self._calls
                if call.at >= since and company in {None, call.company} and conversation in {None, call.conversation}
            ]

    def totals(self) -> dict[str, Any]:
        """All counts, as the control API reports them."""
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
        """Close the file. Later records stay in memory only."""
        with self._lock:
            if self._file:
                self._file.close()
                self._file = None

    def _write(self, kind: str, fields: dict[str, Any]) -> None:
        if self._file:
            self._file.write(json.dumps({"what": kind, **fields}, default=str) + "\n")


def _fields(record: ApiCall | DeliveryAttempt) -> dict[str, Any]:
    """The fields of a record, without the deep copy that `asdict` makes."""
    return {name: getattr(record, name) for name in record.__slots__}


def percentiles(seconds: Sequence[float]) -> dict[str, float | None]:
    """Median, 99th percentile and maximum; None for each if there are no values."""
    ordered = sorted(seconds)
    if not ordered:
        return {"p50": None, "p99": None, "max": None}
    return {
        "p50": round(ordered[len(ordered) // 2], 4),
        "p99": round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))], 4),
        "max": round(ordered[-1], 4),
    }
