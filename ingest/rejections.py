"""Counts the requests that the door rejects, and keeps a few of them as samples, for people who look for the cause.

A request only adds to numbers in memory. A thread writes them to Redis once a second. So no request waits for it, and
a flood of strangers costs one small write a second. While Redis is away, the counts of the last hour wait in memory.
"""

from __future__ import annotations

import ipaddress
import threading
import time
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple, Protocol

import structlog

from ingest.checks import announced
from shared.errors import StoreUnavailable
from shared.rejected_requests import HOUR, KEPT, SLOT_SECONDS, RejectedRequest, slot_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from wsgiref.types import WSGIEnvironment

    from shared.rejected_requests import Counts

log = structlog.get_logger(__name__)

WRITE_EVERY = 1.0  # seconds
PAUSE_AFTER_FAILURE = 5.0
MOST_SLOTS = HOUR // SLOT_SECONDS


class RejectionStore(Protocol):
    """The place where counts and samples end up. Raises StoreUnavailable."""

    def add(self, counts: Counts, samples: Mapping[str, Sequence[RejectedRequest]]) -> None:
        """Add to what is there."""


class _Seen(NamedTuple):
    at: float
    status: int
    address: str
    size: int | None
    detail: str


class RejectionLog:
    """The rejections of one process that are not written yet. Threads may share it."""

    def __init__(
        self,
        store: RejectionStore,
        *,
        now: Callable[[], float] = time.time,
        every: float = WRITE_EVERY,
        pause: float = PAUSE_AFTER_FAILURE,
    ) -> None:
        self._store = store
        self._now = now
        self._every = every
        self._pause = pause
        self._lock = threading.Lock()  # held for a moment only, never while Redis is asked
        self._counts: dict[int, Counter[str]] = {}
        self._samples: dict[str, list[_Seen]] = {}
        self._wanted = threading.Event()
        self._started = False

    def note(self, environ: WSGIEnvironment, *, reason: str, status: int, detail: str) -> None:
        """Count a request that is answered with this status; returns at once. `detail` is said in words of ours."""
        now = self._now()
        with self._lock:
            self._counts.setdefault(slot_of(now), Counter())[reason] += 1
            samples = self._samples.setdefault(reason, [])
            if len(samples) < KEPT:
                samples.append(_Seen(now, status, environ["REMOTE_ADDR"], _size(environ), detail))
            must_start, self._started = not self._started, True
        self._wanted.set()
        if must_start:
            threading.Thread(target=self._run, name="rejections", daemon=True).start()

    def write(self) -> bool:
        """Write all that waits; return whether the store took it. What it did not take is kept for the next time."""
        with self._lock:
            counts, self._counts = self._counts, {}
            samples, self._samples = self._samples, {}
        try:
            self._store.add(counts, {reason: [_sample(each) for each in seen] for reason, seen in samples.items()})
        except StoreUnavailable as exc:
            log.debug("rejections_not_written", reason=str(exc))
            self._put_back(counts, samples)
            return False
        return True

    def _put_back(self, counts: dict[int, Counter[str]], samples: dict[str, list[_Seen]]) -> None:
        with self._lock:
            for slot, by_reason in self._counts.items():
                counts.setdefault(slot, Counter()).update(by_reason)
            for reason, seen in self._samples.items():
                samples[reason] = [*samples.get(reason, []), *seen][-KEPT:]
            self._counts = {slot: counts[slot] for slot in sorted(counts)[-MOST_SLOTS:]}
            self._samples = samples

    def _run(self) -> None:
        while self._wanted.wait():
            self._wanted.clear()
            if not self._written():
                self._wanted.set()
                time.sleep(self._pause)
            time.sleep(self._every)

    def _written(self) -> bool:
        try:
            return self.write()
        except Exception:
            log.exception("rejections_lost")
            return True  # they are gone, and the next ones are written again


def network(address: str) -> str:
    """Return the network of an address, which does not tell a single sender: a /24 of IPv4, a /48 of IPv6."""
    try:
        ip = ipaddress.ip_address(address.strip("[]").partition("%")[0])
    except ValueError:
        return "unknown"
    ip = (ip.ipv4_mapped or ip) if isinstance(ip, ipaddress.IPv6Address) else ip
    return str(ipaddress.ip_network((ip, 24 if ip.version == 4 else 48), strict=False))


def _sample(seen: _Seen) -> RejectedRequest:
    return RejectedRequest(
        at=datetime.fromtimestamp(seen.at, UTC),
        status=seen.status,
        network=network(seen.address),
        size=seen.size,
        detail=seen.detail,
    )


def _size(environ: WSGIEnvironment) -> int | None:
    """Return the size of the body that came, or else the announced one; None where neither is known."""
    return environ["wsgi.input"].getbuffer().nbytes or announced(environ)
