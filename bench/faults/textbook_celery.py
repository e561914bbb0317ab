"""A Celery task on Redis as the documentation teaches it, with every setting that is said to prevent losses.

    BROKER_URL=… EFFECTS=FILE python textbook_celery.py worker …

The file needs nothing but Celery, so that an environment with any version of it can run it.
"""

from __future__ import annotations

import os
import sys
import time

from celery import Celery

COUNT = "count"
VISIBILITY_TIMEOUT = 5  # seconds; short, so that a run can wait until all messages have come back
MUTEX_EXPIRES = 5  # seconds; for this long a worker killed while restoring blocks the others


def textbook(broker_url: str) -> Celery:
    """Return the application; its one task appends its argument to a file, which no broker can lose."""
    app = Celery("textbook", broker=broker_url, set_as_current=False)
    app.conf.update(
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_ignore_result=True,
        worker_prefetch_multiplier=1,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={"visibility_timeout": VISIBILITY_TIMEOUT, "unacked_mutex_expire": MUTEX_EXPIRES},
    )
    app.task(name=COUNT)(count)
    return app


def count(number: int) -> None:
    """Append number, worker, main process and time in one write, which SIGKILL cannot split."""
    time.sleep(float(os.environ.get("TASK_SECONDS", "0")))
    line = f"{number} {os.environ['WORKER']} {os.getsid(0)} {time.monotonic()}\n"
    effects = os.open(os.environ["EFFECTS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(effects, line.encode())
    os.close(effects)


if __name__ == "__main__":
    textbook(os.environ["BROKER_URL"]).worker_main(sys.argv[1:])
