"""The cost of the figures in the recorder: `python -m bench.console.figures_cost CHUNK`.

It prints that it is ready, waits for a line, and empties the intake. Every other block of chunks is recorded without
the figures of the minute. It then prints the CPU time of an event of each block as JSON: that of this process and of
its sessions of PostgreSQL.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from bench.record.drain import open_recorder, print_line
from shared import queue
from shared.db.figures import Tally
from shared.process import logs
from shared.settings import load
from workers.recording import chunk as chunks
from workers.resources import open_resources

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from workers.resources import Resources

BLOCK = 1  # chunk
WARM_UP = 6  # blocks


@dataclass
class Block:
    """The events of a block, and the CPU time that went by while they were recorded."""

    counts: bool
    events: int = 0
    seconds: float = 0.0

    @property
    def us_per_event(self) -> float:
        """CPU of an event, in microseconds."""
        return self.seconds / self.events * 1e6


@dataclass
class Watch:
    """Assigns the CPU time to blocks, and says to which block the present chunk belongs."""

    database_url: str
    application: str
    blocks: list[Block] = field(default_factory=list)
    chunks: int = 0
    _sessions: list[int] = field(default_factory=list)
    _before: float = 0.0

    def begin_chunk(self, events: int) -> None:
        """Note the CPU time so far for the block before, and count the events of the chunk that begins."""
        self.note()
        if self.chunks % BLOCK == 0:
            self._sessions = self._sessions or self._find_sessions()
            self._before = self._cpu_seconds()
            self.blocks.append(Block(counts=len(self.blocks) % 2 == 1))
        self.chunks += 1
        self.blocks[-1].events += events

    def note(self) -> None:
        """Give the present block the CPU time since the last note."""
        now = self._cpu_seconds()
        if self.blocks:
            self.blocks[-1].seconds += now - self._before
        self._before = now

    def _find_sessions(self) -> list[int]:
        if len(self.blocks) < 1:  # the pool opens them with the first chunks
            return []
        with psycopg.connect(self.database_url) as conn:
            rows = conn.execute("SELECT pid FROM pg_stat_activity WHERE application_name = %s", (self.application,))
            return [pid for (pid,) in rows]

    def _cpu_seconds(self) -> float:
        """Return the CPU time of this process and of its sessions; the kernel counts both in nanoseconds."""
        spent = [Path(f"/proc/{pid}/schedstat").read_text().split()[0] for pid in self._sessions]
        return time.process_time() + sum(map(int, spent)) / 1e9


def main(chunk: int) -> None:
    """Drain the intake once."""
    settings = load()
    logs.configure(settings, "recorder")
    resources = open_resources(settings, queue.celery_app(settings), kind="recorder")
    recorder = open_recorder(resources, chunk)
    watch = Watch(settings.database_url.get_secret_value(), resources.name)
    _watch_chunks(recorder, watch)
    print_line({"ready": True})
    sys.stdin.readline()
    recorder.drain()
    watch.note()
    _write_figures(resources, watch)
    print_line({"without": _costs(watch, counts=False), "with": _costs(watch, counts=True)})
    sys.stdin.read()
    recorder.close()
    resources.close()


def _watch_chunks(recorder: Any, watch: Watch) -> None:
    record, tally_of = recorder._record_chunk, chunks._tally

    def watched(chunk: Sequence[Any], *rest: Any) -> None:
        watch.begin_chunk(len(chunk))
        record(chunk, *rest)

    def tally_if_counted(*given: Any) -> Tally:
        return tally_of(*given) if watch.blocks[-1].counts else Tally()

    recorder._record_chunk = watched
    replace: Callable[..., None] = setattr
    replace(chunks, "_tally", tally_if_counted)


def _write_figures(resources: Resources, watch: Watch) -> None:
    """Write the figures of the tenants, as the heartbeat does, on account of the blocks that count."""
    before = watch._cpu_seconds()
    resources.figures.write()
    counting = [block for block in watch.blocks if block.counts]
    spent, events = watch._cpu_seconds() - before, sum(block.events for block in counting)
    for block in counting:
        block.seconds += spent * block.events / events


def _costs(watch: Watch, *, counts: bool) -> list[float]:
    """Return the costs of the blocks of one kind after the warm-up; each kind has as many."""
    blocks = watch.blocks[WARM_UP : WARM_UP + (len(watch.blocks) - WARM_UP - 1) // 2 * 2]
    return [block.us_per_event for block in blocks if block.counts is counts]


if __name__ == "__main__":
    main(int(sys.argv[1]))
