"""Which versions of Celery survive the loss of Redis: the same plain workers under the same kills, a line for each."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.faults.control.effects import compare
from bench.faults.control.environments import NEWEST, PINNED, environment, versions
from bench.faults.control.outages import Outages
from bench.faults.control.publisher import Publisher
from bench.faults.control.trial import Kind, trial
from bench.faults.result import Result
from bench.faults.run import Run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.faults.control.effects import Comparison
    from bench.faults.run import Suite

KINDS = (Kind(name="prefork", pool="prefork", slots=4), Kind(name="threads", pool="threads", slots=4))
TASK_SECONDS = 0.02  # so that every kill of Redis meets messages that are not acknowledged
BETWEEN = 1.5  # seconds


def compare_versions(suite: Suite) -> Iterator[Result]:
    """Ours alone in the short size; at full size ours and the newest, each in an environment of its own."""
    if not suite.full:
        yield redis_kills(suite, sys.executable, kills=2, pinned=True)
        return
    for name, requirements in (("pinned", PINNED), ("newest", NEWEST)):
        python = environment(suite.folder / f"environment-{name}", requirements)
        yield redis_kills(suite, python, kills=20, pinned=name == "pinned")


def redis_kills(suite: Suite, python: str, *, kills: int, pinned: bool) -> Result:
    """Kill Redis under load, again and again; what the workers of this interpreter make of it."""
    folder = suite.folder / f"versions-{'pinned' if pinned else 'newest'}"
    with (
        suite.servers.fresh() as (_, broker_url),
        trial(folder, broker_url, KINDS, python=python, task_seconds=TASK_SECONDS) as on,
    ):
        outages = Outages(on, suite.servers.valkey)
        with Publisher(broker_url) as publisher:
            on.await_all()
            for _ in range(kills):
                time.sleep(BETWEEN)
                outages.kill()
        drained = on.drain()
        shown = _result(versions(python), outages, compare(publisher.acknowledged, on.effects.done), drained)
        load = len(publisher.acknowledged)
        return replace(shown, load=load, injected=kills, broken=shown.broken if pinned else ())


def _result(found: dict[str, str], outages: Outages, comparison: Comparison, drained: float) -> Result:
    words = " ".join(f"{package} {number}" for package, number in found.items())
    counts = {"ended by themselves": outages.ended, "went deaf": outages.deaf}
    told = [f"{count} workers {what}" for what, count in counts.items()]
    return Result(
        name=f"versions_{found['celery']}",
        load=0,
        injected=0,
        lost=len(comparison.lost),
        double=len(comparison.twice),
        drain_seconds=round(drained, 1),
        longest_gap_seconds=round(max(outages.pauses), 1),
        note=f"{words}: {', '.join(told)}",
        broken=tuple(words for words, count in zip(told, counts.values(), strict=True) if count),
    )


RUNS = (
    Run(
        name="versions",
        promise="the pinned versions of Celery live through the loss of Redis; the newest are shown beside them",
        do=compare_versions,
    ),
)
