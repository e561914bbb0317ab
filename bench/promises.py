"""What was promised of speed, and whether a result keeps it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bench.benchmark import Figures


@dataclass(frozen=True, kw_only=True)
class Promise:
    """`figure` of the benchmark `of` is to be at least so much, or at most."""

    of: str
    what: str
    figure: str
    at_least: float | None = None
    at_most: float | None = None

    @property
    def bound(self) -> str:
        """The bound in words."""
        return f"at most {self.at_most:g}" if self.at_least is None else f"at least {self.at_least:g}"

    def kept_by(self, measured: float) -> bool:
        """Whether it holds."""
        return measured <= self.at_most if self.at_most is not None else measured >= (self.at_least or 0.0)


PROMISES = (
    Promise(of="door", what="answers, ours to the textbook's", figure="ours_to_textbook_ratio", at_least=4),
    Promise(of="door", what="answers, ours to Express and BullMQ's", figure="ours_to_express_bullmq_ratio", at_least=1),
    Promise(of="door", what="answers, ours to those of an empty view", figure="ours_to_ceiling_ratio", at_least=0.5),
    Promise(of="record", what="events a second into an empty database", figure="ours_per_second", at_least=5_000),
    Promise(
        of="stored",
        what="CPU of an event, over 5,000,000 stored ones to over none",
        figure="5000000_stored_to_none_cpu_ratio",
        at_most=1.3,
    ),
    Promise(
        of="flow", what="ms from the webhook to the row, p99 at 50 a second", figure="rows_at_50_p99_ms", at_most=100
    ),
    Promise(
        of="flow",
        what="ms from the webhook to the change, p99 at 50 a second",
        figure="action_at_50_p99_ms",
        at_most=1_000,
    ),
    Promise(
        of="flow",
        what="calls a second of a worker with 16 threads, its events fresh at first",
        figure="calls_per_second",
        at_least=150,
    ),
    Promise(of="flow", what="MB of that worker", figure="worker_memory_mb", at_most=120),
    Promise(
        of="backlog",
        what="calls a second of a worker with 16 threads, its events older than a minute",
        figure="calls_per_second",
        at_least=150,
    ),
    Promise(of="backlog", what="MB of that worker", figure="worker_memory_mb", at_most=120),
    Promise(
        of="flow",
        what="ms of an event beside a tenant's backlog, slowest",
        figure="noisy_tenant_event_slowest_ms",
        at_most=2_000,
    ),
    Promise(
        of="flow",
        what="ms of an event beside everybody's backlogs, slowest",
        figure="many_backlogs_event_slowest_ms",
        at_most=2_000,
    ),
    Promise(of="flow", what="MB of a worker that stores 16 files of 25 MB", figure="downloads_memory_mb", at_most=150),
    Promise(of="scale", what="bytes of Redis for a byte of body", figure="redis_to_body_bytes_ratio", at_most=1.3),
    Promise(
        of="scale",
        what="CPU of an event that is recorded while very many wait, to one by itself",
        figure="deep_to_shallow_cpu_ratio",
        at_most=1.3,
    ),
    Promise(of="scale", what="ms of a dispatch round, median", figure="dispatch_round_median_ms", at_most=50),
)


def judged(figures: Figures) -> list[dict[str, Any]]:
    """What was promised of this benchmark, as far as this run measured it."""
    return [
        {
            "what": each.what,
            "promised": each.bound,
            "measured": figures[each.figure],
            "kept": each.kept_by(figures[each.figure]),
        }
        for each in _of(figures["name"])
        if each.figure in figures
    ]


def _of(name: str) -> Iterator[Promise]:
    return (each for each in PROMISES if each.of == name)


def told(promises: Iterable[dict[str, Any]]) -> Iterator[str]:
    """A line for each."""
    for each in promises:
        word = "kept" if each["kept"] else "NOT kept"
        yield f"promised: {each['what']}, {each['promised']}: {each['measured']:,}, {word}"
