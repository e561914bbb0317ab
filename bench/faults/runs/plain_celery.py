"""The control: workers die as elsewhere, but Celery is alone. A suite that sees nothing lost here is blind."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bench.faults.control.effects import compare
from bench.faults.control.killer import Killer
from bench.faults.control.publisher import Publisher
from bench.faults.control.textbook import VISIBILITY_TIMEOUT
from bench.faults.control.trial import Kind, trial
from bench.faults.result import Result
from bench.faults.run import Run

if TYPE_CHECKING:
    from bench.faults.control.trial import Trial
    from bench.faults.run import Suite

#: Both pools are known to lose. Several workers, so that the others go on while one starts again.
KINDS = (
    Kind(name="prefork", pool="prefork", slots=2),
    Kind(name="threads_1", pool="threads", slots=4),
    Kind(name="threads_2", pool="threads", slots=4),
)
SHORT, FULL = (1_000, 3), (60_000, 40)
PAUSE = 0.3  # seconds between two kills


def control(suite: Suite) -> Result:
    """Kill plain Celery workers under load, wait until the broker is empty, and count what never happened."""
    tasks, kills = suite.pick(SHORT, FULL)
    with suite.servers.fresh() as (_, broker_url), trial(suite.folder / "control", broker_url, KINDS) as on:
        killer = Killer(on)
        with Publisher(broker_url) as publisher:
            on.await_all()
            while killer.verified < kills or len(publisher.acknowledged) < tasks:
                if killer.verified + killer.waiting < kills:
                    killer.kill()
                time.sleep(PAUSE)
                killer.look()
        return _result(suite, on, publisher, kills=killer.verified, drained=on.drain())


def _result(suite: Suite, on: Trial, publisher: Publisher, *, kills: int, drained: float) -> Result:
    found = compare(publisher.acknowledged, on.effects.done)
    blind = suite.full and not found.lost
    seen = "Celery alone is meant to lose" if found.lost or suite.full else "too short to expect a loss of Celery's"
    return Result(
        name="control",
        load=len(publisher.acknowledged),
        injected=kills,
        lost=len(found.lost),
        double=len(found.twice),
        ghost=len(found.unacknowledged),
        drain_seconds=round(drained, 1),
        note=f"{seen}; broker empty, visibility timeout {VISIBILITY_TIMEOUT} s",
        broken=("plain Celery lost nothing: this suite cannot see a loss",) if blind else (),
    )


RUNS = (
    Run(
        name="control",
        promise="plain Celery under SIGKILL to its workers must lose at least one task at full size",
        do=control,
        in_ci=True,
    ),
)
