"""Large files that come at the same time: in how much memory they are stored, and how fast."""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.door.usage import memory_mb
from bench.flow.stage import order

if TYPE_CHECKING:
    from bench.flow.stage import Stage

PROMISED_MB = 150
AT_ONCE = 16
#: Files get half of the slots: so that all are stored at the same time.
THREADS = str(2 * AT_ONCE)
LOOKS_EVERY = 0.1
STORED_WITHIN = 240.0
AT_WORK = "SELECT count(*) FROM tasks WHERE kind = 'store_attachment' AND state = 'running'"
KEPT = "SELECT front_id, size, sha256, path FROM attachments WHERE state = 'stored' AND id > %s ORDER BY id"
LAST = "SELECT coalesce(max(id), 0) FROM attachments"


@dataclass(frozen=True, kw_only=True)
class Look:
    """At the worker, in a moment."""

    memory_mb: float
    at_work: int


def download(stage: Stage, file_mb: int, *, slowly: float = 0.0) -> dict[str, Any]:
    """One file of each company; `slowly`: so many seconds Front takes for each, so that all are under way together."""
    front, size = stage.mailroom.front, file_mb * 1_000_000
    if slowly:
        front.fault("slow_body", path_regex="^/download/", seconds=slowly)
    [(last,)] = stage.mailroom.rows(LAST)
    before = _look(stage)
    began = time.monotonic()
    for company in stage.companies:
        front.send("inbound_received", company, **order(company, attachments=[{"size": size}]))
    looks = _looks(stage, last)
    took = time.monotonic() - began
    front.heal()
    stage.settle(STORED_WITHIN)
    return {
        "files": len(stage.companies),
        "file_mb": file_mb,
        "most_at_once": max(each.at_work for each in looks),
        "memory_mb": round(max(each.memory_mb for each in looks), 1),
        "memory_before_mb": round(before.memory_mb, 1),
        "mb_per_second": round(len(stage.companies) * file_mb / took, 1),
        "seconds": round(took, 1),
        "wrong": _wrong(stage, last),
        "load_average": round(os.getloadavg()[0], 2),
    }


def careless(found: dict[str, dict[str, Any]], files: int) -> list[str]:
    """What was promised of files and is not so, in words; `slow` has to show so many under way together."""
    most, wrong = found["slow"]["most_at_once"], sum(each["wrong"] for each in found.values())
    memory = max(each["memory_mb"] for each in found.values())
    broken = [f"{wrong} stored files are not Front's"] if wrong else []
    broken += [f"only {most} files were stored at once: this shows nothing"] if most < files else []
    return broken + ([f"the worker took {memory} MB for its files"] if memory >= PROMISED_MB else [])


def _looks(stage: Stage, last: int) -> list[Look]:
    """Until all files are stored."""
    looks, until = [], time.monotonic() + STORED_WITHIN
    while len(stage.mailroom.rows(KEPT, last)) < len(stage.companies):
        assert time.monotonic() < until, "the files are not stored in time"
        looks.append(_look(stage))
        time.sleep(LOOKS_EVERY)
    return looks


def _look(stage: Stage) -> Look:
    [(at_work,)] = stage.mailroom.rows(AT_WORK)
    return Look(memory_mb=memory_mb(stage.mailroom.platform.pids("worker")), at_work=at_work)


def _wrong(stage: Stage, last: int) -> int:
    """How many stored files are not Front's, by their rows or by their bytes."""
    files = Path(stage.mailroom.environment["MAILROOM_DATA"]) / "files"
    count = 0
    for front_id, size, sha256, path in stage.mailroom.rows(KEPT, last):
        kept = (files / path).read_bytes()
        fronts = stage.mailroom.front.file(front_id)
        is_right = (size, sha256) == (fronts["size"], fronts["sha256"]) == (len(kept), _digest(kept))
        count += not is_right
    return count


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
