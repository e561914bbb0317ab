"""A Celery task that posts a notification, as a tutorial has it: `celery -A bench.peers.textbook.notifier worker`.

Its retries are those that `autoretry_for` gives with Celery's defaults: three, after 1, 2 and 4 seconds at most.
"""

from __future__ import annotations

import os

import requests
from celery import Celery
from requests.adapters import HTTPAdapter

from bench.peers.webhook import SLOTS, VISIBILITY_SECONDS

POST = "post_notification"
#: As Mailroom waits.
TIMEOUT_SECONDS = 20.0


def celery(broker_url: str) -> Celery:
    """Return a Celery application on this Redis, with every setting that is said to prevent the loss of tasks."""
    app = Celery("notifier", broker=broker_url, set_as_current=False)
    app.conf.update(
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        broker_connection_retry_on_startup=True,
        broker_transport_options={"visibility_timeout": VISIBILITY_SECONDS},
    )
    app.task(name=POST, autoretry_for=(requests.RequestException,), retry_backoff=True)(post_notification)
    return app


session = requests.Session()
session.mount("http://", HTTPAdapter(pool_maxsize=SLOTS))


def post_notification(url: str, notification_id: str, body: str) -> None:
    """Post the body. Raises requests.RequestException unless it is taken."""
    headers = {"Content-Type": "application/json", "webhook-id": notification_id}
    session.post(url, body.encode(), headers=headers, timeout=TIMEOUT_SECONDS).raise_for_status()


app = celery(os.environ.get("REDIS_URL", "redis://"))
