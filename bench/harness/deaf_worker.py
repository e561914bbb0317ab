"""A worker that stops consuming on purpose, with an impatient watchdog: `celery -A bench.harness.deaf_worker worker …`.

`DEAF_HOW` says how: `cancel` stops its consumer as a broken reconnect does, `hang` blocks its whole event loop.
It happens once, `DEAF_AFTER` seconds after the start, unless the file `DEAF_MARK` exists.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from celery import bootsteps

from workers.process import watchdog

watchdog.SAMPLE_SECONDS, watchdog.GRACE_SECONDS = 0.2, 3.0
watchdog.NOT_CONSUMING_SECONDS = float(os.environ.get("DEAF_SECONDS", "2"))

from workers.app import app  # noqa: E402 -- the watchdog reads the values above when it is made


class Deafening(bootsteps.StartStopStep):
    """Makes the worker deaf some time after its consumer has started."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def start(self, consumer: Any) -> None:
        """Schedule it, unless it has happened before."""
        mark = Path(os.environ["DEAF_MARK"])
        if not mark.exists():
            consumer.timer.call_after(float(os.environ.get("DEAF_AFTER", "0.5")), _deafen, (consumer, mark))


def _deafen(consumer: Any, mark: Path) -> None:
    mark.touch()
    match os.environ.get("DEAF_HOW"):
        case "cancel":
            consumer.task_consumer.cancel()
        case "hang":
            time.sleep(3_600)


app.steps["consumer"].add(Deafening)
