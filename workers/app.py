"""The Celery application: `celery -A workers.app worker -Q record` or `-Q work`."""

from __future__ import annotations

import os
import sys
from typing import Any

import structlog
from celery import signals

from shared import failpoints, logs, queue
from shared.errors import MailroomError, StoreUnavailable
from shared.settings import Settings, load
from workers.acknowledging import free_slots
from workers.attempt import run_task
from workers.heartbeat import Heartbeat
from workers.resources import Resources, open_resources
from workers.steps import STEPS
from workers.waking import add_waker

EXIT_CONFIGURATION = 78
log = structlog.get_logger()


def _settings() -> Settings:
    try:
        return load().require("database_url", "redis_url", "token_keys")
    except MailroomError as exc:
        sys.stderr.write(f"{exc}\n")
        sys.exit(EXIT_CONFIGURATION)


settings = _settings()
failpoints.arm(settings.mailroom_crash_at)
app = queue.celery_app(settings)
add_waker(app)
free_slots()


class Process:
    """This worker's resources and heartbeat; made when the worker starts, not at import."""

    resources: Resources
    heartbeat: Heartbeat


def kind_of(queues: Any) -> str:
    """What a worker that consumes these queues is called."""
    return "recorder" if queue.RECORD in queues else "worker"


@signals.setup_logging.connect
def set_up_logging(**_: Any) -> None:
    """Take over Celery's logging."""
    logs.configure(settings, "worker")


@signals.celeryd_after_setup.connect
def open_process(sender: str, instance: Any, **_: Any) -> None:
    """Open this process' resources; a worker that cannot must not consume."""
    kind = kind_of(instance.app.amqp.queues.consume_from)
    try:
        Process.resources = open_resources(settings, app, kind=kind)
    except Exception:
        # Celery swallows what a signal handler raises, and would run on without resources.
        log.exception("worker_not_started", worker=sender)
        os._exit(1)
    Process.heartbeat = Heartbeat(Process.resources, kind, instance.concurrency if kind == "worker" else 0)


@signals.worker_ready.connect
def begin(**_: Any) -> None:
    """Be counted once tasks can be taken."""
    Process.heartbeat.start()


@signals.worker_shutting_down.connect
def ask_to_stop(**_: Any) -> None:
    """Running downloads give their tasks back; everything shorter finishes."""
    Process.resources.stop.set()


@signals.worker_shutdown.connect
def close_process(**_: Any) -> None:
    """Leave once the last task is done."""
    Process.heartbeat.stop()
    Process.resources.close()


@app.task(name=queue.RECORD_INBOX)
def record_inbox() -> None:
    """Record what waits in the inbox and the spool."""
    try:
        Process.resources.recorder.drain()
    except StoreUnavailable as exc:
        log.warning("recording_postponed", reason=str(exc))


@app.task(name=queue.RUN_TASK)
def run(task_id: int) -> None:
    """Run one task."""
    run_task(Process.resources, STEPS, int(task_id))
