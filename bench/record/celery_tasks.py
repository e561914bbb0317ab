"""The usual way: a Celery task for each webhook.

It runs the statements of our recorder for one webhook at a time, so that both leave the same rows. An INSERT for each
recipient would cost more.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

from celery import Celery

from bench.record.rounds import TASK_QUEUE, TASK_THREADS
from shared.db.core.pool import open_pool
from shared.models import Delivery
from shared.settings import load
from workers.recording.chunk import record_chunk
from workers.recording.parse import Incoming, parse

settings = load()
app = Celery("webhooks", broker=settings.redis_url.get_secret_value())
app.conf.update(
    task_ignore_result=True, task_acks_late=True, task_default_queue=TASK_QUEUE, broker_connection_retry_on_startup=True
)
pool = open_pool(settings, size=TASK_THREADS, application_name="tasks of the benchmark")


@app.task
def process_webhook(body: str) -> None:
    """Record one webhook."""
    delivery = Delivery(id=uuid.uuid4().hex, received_at=datetime.now(UTC), body=body.encode())
    parsed = parse(Incoming(delivery=delivery, origin="webhook", entry_id=delivery.id))
    pool.run(lambda conn: record_chunk(conn, [parsed]))
