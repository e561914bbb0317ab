"""How the tasks of the benchmark are sent and worked off, for those who must not load them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from celery import Celery

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shared.models import Delivery

THREADS = 4
QUEUE = "webhooks"
TASK = "bench.record.tasks.process_webhook"
COMMAND = [
    *(sys.executable, "-m", "celery", "-A", "bench.record.tasks", "worker", "-Q", QUEUE, "-P", "threads"),
    *("-c", str(THREADS), "--without-gossip", "--without-mingle", "-l", "warning"),
]


def send(redis_url: str, deliveries: Iterable[Delivery]) -> None:
    """A message for each."""
    with Celery("sender", broker=redis_url) as app:
        for each in deliveries:
            app.send_task(TASK, (each.body.decode(),), queue=QUEUE, argsrepr="-", kwargsrepr="-")
