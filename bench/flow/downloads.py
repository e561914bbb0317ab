"""Large files at the same time: the memory of the worker that stores them, and how fast it is."""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.harness.mail import order
from bench.harness.usage import memory_mb

if TYPE_CHECKING:
    from bench.flow.fixture import Fixture

PROMISED_MB = 150
AT_ONCE = 16
#: Half of the threads may store files, so that all are stored at the same time.
THREADS = str(2 * AT_ONCE)
SAMPLE_SECONDS = 0.1
STORED_WITHIN = 240.0
RUNNING = "SELECT count(*) FROM tasks WHERE kind = 'store_attachment' AND state = 'running'"
STORED = "SELECT front_id, size, sha256, path FROM attachments WHERE state = 'stored' AND id > %s ORDER BY id"
LAST = "SELECT coalesce(max(id), 0) FROM attachments"


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The memory of the worker, and the files that it is storing."""

    memory_mb: float
    running: int


def download(on: Fixture, file_mb: int, *, slowly: float = 0.0) -> dict[str, Any]:
    """Send each company one file; Front takes `slowly` seconds for each, so that all downloads overlap."""
    front, size = on.mailroom.front, file_mb * 1_000_000
    if slowly:
        front.fault("slow_body", path_regex="^/download/", seconds=slowly)
    [(last,)] = on.mailroom.rows(LAST)
    before = _sample(on)
    began = time.monotonic()
    for company in on.companies:
        front.send("inbound_received", company, **order(company, attachments=[{"size": size}]))
    samples = _samples_until_stored(on, last)
    took = time.monotonic() - began
    front.heal()
    on.settle(STORED_WITHIN)
    return {
        "files": len(on.companies),
        "file_mb": file_mb,
        "most_at_once": max(each.running for each in samples),
        "memory_mb": round(max(each.memory_mb for each in samples), 1),
        "memory_before_mb": round(before.memory_mb, 1),
        "mb_per_second": round(len(on.companies) * file_mb / took, 1),
        "seconds": round(took, 1),
        "wrong": _wrong(on, last),
        "load_average": round(os.getloadavg()[0], 2),
    }


def violations(found: dict[str, dict[str, Any]], files: int) -> list[str]:
    """Return the violated guarantees; the slow run must have had all files under way together."""
    most, wrong = found["slow"]["most_at_once"], sum(each["wrong"] for each in found.values())
    memory = max(each["memory_mb"] for each in found.values())
    broken = [f"{wrong} stored files are not Front's"] if wrong else []
    broken += [f"only {most} files were stored at once: this measures nothing"] if most < files else []
    return broken + ([f"the worker took {memory} MB for its files"] if memory >= PROMISED_MB else [])


def _samples_until_stored(on: Fixture, last: int) -> list[Sample]:
    """Sample the worker until all files are stored."""
    samples, until = [], time.monotonic() + STORED_WITHIN
    while len(on.mailroom.rows(STORED, last)) < len(on.companies):
        assert time.monotonic() < until, "the files are not stored in time"
        samples.append(_sample(on))
        time.sleep(SAMPLE_SECONDS)
    return samples


def _sample(on: Fixture) -> Sample:
    [(running,)] = on.mailroom.rows(RUNNING)
    return Sample(memory_mb=memory_mb(on.mailroom.platform.pids("worker")), running=running)


def _wrong(on: Fixture, last: int) -> int:
    """Count the stored files that differ from Front's in their row or their bytes."""
    files = Path(on.mailroom.environment["MAILROOM_DATA"]) / "files"
    count = 0
    for front_id, size, sha256, path in on.mailroom.rows(STORED, last):
        stored = (files / path).read_bytes()
        fronts = on.mailroom.front.file(front_id)
        is_right = (size, sha256) == (fronts["size"], fronts["sha256"]) == (len(stored), _digest(stored))
        count += not is_right
    return count


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
