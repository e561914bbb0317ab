"""The queue with every setting that is said to keep tasks; shared by view and worker."""

from __future__ import annotations

import os

from celery import Celery

from bench.peers.terms import FORGOTTEN_SECONDS

TASK = "process_webhook"


# As many are fetched ahead as usual, four a thread: told to fetch none, sixteen threads did 9 tasks of 80 ms a second,
# for a thread that is done does not wake the loop that fetches.
def celery(broker_url: str) -> Celery:
    """Celery on this Redis."""
    app = Celery("textbook", broker=broker_url)
    app.conf.update(
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        broker_connection_retry_on_startup=True,
        broker_transport_options={"visibility_timeout": FORGOTTEN_SECONDS},
    )
    return app


queue = celery(os.environ.get("REDIS_URL", "redis://"))
