"""The queue, for view and worker, with every setting that is said to prevent the loss of tasks."""

from __future__ import annotations

import os

from celery import Celery

from bench.peers.webhook import VISIBILITY_SECONDS

TASK = "process_webhook"


# The prefetch is the usual one, four a thread. Without any, sixteen threads did 9 tasks of 80 ms a second, because a
# thread that is done does not wake the loop that fetches.
def celery(broker_url: str) -> Celery:
    """Return a Celery application on this Redis."""
    app = Celery("textbook", broker=broker_url)
    app.conf.update(
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        broker_connection_retry_on_startup=True,
        broker_transport_options={"visibility_timeout": VISIBILITY_SECONDS},
    )
    return app


queue = celery(os.environ.get("REDIS_URL", "redis://"))
