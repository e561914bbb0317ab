"""A Celery task on Redis as the documentation teaches it, with every setting that is said to keep tasks.

    BROKER_URL=… EFFECTS=FILE python textbook.py worker …

Needs nothing but Celery, so that any environment with any version of it can run this file.
"""

from __future__ import annotations

import os
import sys
import time

from celery import Celery

COUNT = "count"
VISIBILITY_TIMEOUT = 5  # seconds; short, so that a run can wait until everything has come back that ever will
MUTEX_EXPIRES = 5  # seconds; a worker killed while it restores keeps the others from it for that long


def textbook(broker_url: str) -> Celery:
    """The application; its one task writes its argument where no worker and no broker can lose it."""
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
    """Append the number, the worker's name and main process, and the time, in one write that SIGKILL cannot halve."""
    time.sleep(float(os.environ.get("TASK_SECONDS", "0")))
    line = f"{number} {os.environ['WORKER']} {os.getsid(0)} {time.monotonic()}\n"
    effects = os.open(os.environ["EFFECTS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(effects, line.encode())
    os.close(effects)


if __name__ == "__main__":
    textbook(os.environ["BROKER_URL"]).worker_main(sys.argv[1:])
