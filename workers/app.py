"""The Celery application: `celery -A workers.app worker -Q record` or `-Q work`."""

from __future__ import annotations

import math
import os
import sys
from typing import Any

import structlog
from celery import signals
from celery.concurrency import prefork

from shared import failpoints, queue
from shared.connection.tokens import keep_alive
from shared.errors import MailroomError, StoreUnavailable
from shared.http.transport import CallDeadlines
from shared.process import logs
from shared.process.heartbeat import Heartbeat
from shared.settings import Settings, load
from workers.attempts.run import run_task
from workers.process.waking import add_waker
from workers.process.watchdog import Watchdog
from workers.repairing.slice import run_repair
from workers.resources import Resources, open_resources
from workers.steps import STEPS
from workers.sweeping.retention import expire

EXIT_CONFIGURATION = 78
#: Added to the deadline of the largest file: for the storage, and for whatever else a task may wait for.
STUCK_SECONDS = 600.0
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


class Process:
    """This process' resources and heartbeat; made when it starts, not at import. With prefork each child is one.

    The watchdog looks after the process that consumes: with prefork that is the children's parent.
    """

    kind: str
    slots: int
    resources: Resources
    heartbeat: Heartbeat
    watchdog: Watchdog


def kind_of(queues: Any) -> str:
    """What a worker that consumes these queues is called."""
    return "recorder" if queue.RECORD_QUEUE in queues else "worker"


def is_open() -> bool:
    """Whether this process runs tasks itself; the parent of prefork's children does not."""
    return hasattr(Process, "resources")


@signals.setup_logging.connect
def set_up_logging(**_: Any) -> None:
    """Take over Celery's logging."""
    logs.configure(settings, "worker")


@signals.celeryd_after_setup.connect
def open_process(instance: Any, **_: Any) -> None:
    """Open this process' resources; a worker that cannot must not consume. Children open their own after the fork."""
    Process.kind = kind_of(instance.app.amqp.queues.consume_from)
    forks = issubclass(instance.pool_cls, prefork.TaskPool)
    Process.slots = 0 if Process.kind == "recorder" else 1 if forks else instance.concurrency
    Process.watchdog = Watchdog(instance, settings.redis_url.get_secret_value(), stuck_seconds=_longest_task())
    if not forks:
        _open()


@signals.worker_process_init.connect
def open_child(**_: Any) -> None:
    """Open a child's resources and be counted: it runs one task at a time."""
    _open()
    Process.heartbeat.start()


def _open() -> None:
    try:
        Process.resources = open_resources(settings, app, kind=Process.kind)
    except Exception:
        # Celery swallows what a signal handler raises, and would run on without resources.
        log.exception("worker_not_started", kind=Process.kind)
        os._exit(1)
    resources = Process.resources
    Process.heartbeat = Heartbeat(resources.pool, resources.name, Process.kind, Process.slots)


def _longest_task() -> float:
    """Seconds. Recording goes on for as long as it has to."""
    if Process.kind == "recorder":
        return math.inf
    return CallDeadlines().for_file(settings.max_attachment_bytes) + STUCK_SECONDS


@signals.worker_ready.connect
def begin(**_: Any) -> None:
    """Be counted, and looked after, once tasks can be taken."""
    if is_open():
        Process.heartbeat.start()
    Process.watchdog.start()


@signals.worker_shutting_down.connect
def ask_to_stop(**_: Any) -> None:
    """Running downloads give their tasks back; everything shorter finishes."""
    Process.watchdog.stop()
    if is_open():
        Process.resources.stop.set()


@signals.worker_shutdown.connect
@signals.worker_process_shutdown.connect
def close_process(**_: Any) -> None:
    """Leave once the last task is done."""
    if is_open():
        Process.heartbeat.stop()
        Process.resources.close()


@app.task(name=queue.RECORD_INTAKE)
def record_intake() -> None:
    """Record what waits in the intake and the spool."""
    try:
        Process.resources.recorder.drain()
    except StoreUnavailable as exc:
        log.warning("recording_postponed", reason=str(exc))


@app.task(name=queue.RUN_TASK)
def run(task_id: int) -> None:
    """Run one task."""
    run_task(Process.resources, STEPS, int(task_id))


@app.task(name=queue.KEEP_ALIVE)
def refresh_tokens(tenant_id: int) -> None:
    """Keep an idle tenant's tokens from dying of age."""
    keep_alive(Process.resources, int(tenant_id))


@app.task(name=queue.EXPIRE)
def delete_expired() -> None:
    """Delete what is too old to be kept."""
    expire(Process.resources)


@app.task(name=queue.REPAIR)
def repair(repair_id: int) -> None:
    """Do a slice of a repair."""
    run_repair(Process.resources, int(repair_id))
