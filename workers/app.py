"""The Celery application of recorders and workers: `celery -A workers.app worker -Q record`, or `-Q work`."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, NoReturn

import structlog
from celery import signals
from celery.concurrency import prefork

from shared import failpoints, queue
from shared.connection.tokens import keep_alive
from shared.db.core.session import wait_until_current
from shared.db.host import endpoints
from shared.errors import ConfigurationError, MailroomError, StoreUnavailable
from shared.host.endpoint_rules import step_name
from shared.http.transport import CallDeadlines
from shared.process import logs, metrics, private_port, readiness, service_manager, tracing
from shared.settings import Settings, load
from workers.attempts.run import run_task
from workers.erasing_addresses import erase_address
from workers.jobs import run_job
from workers.notifying.notify import run_notification
from workers.process.waking import add_waker
from workers.process.watchdog import Watchdog
from workers.repairing.slice import run_repair
from workers.resources import (
    EXIT_CONFIGURATION,
    NEEDED_FOR_TASKS,
    NEEDED_SETTINGS,
    Resources,
    open_resources,
)
from workers.steps import STEPS
from workers.sweeping import retention

#: Added to the deadline of the largest download, for the storage and for whatever else a task may wait for.
STUCK_MARGIN_SECONDS = 600.0
log = structlog.get_logger()


def _load_settings() -> Settings:
    try:
        return load()  # `open_process` asks for those that are missing: it knows the queues
    except MailroomError as exc:
        sys.stderr.write(f"{exc}\n")
        sys.exit(EXIT_CONFIGURATION)


settings = _load_settings()
failpoints.arm(settings.mailroom_crash_at)
app = queue.celery_app(settings)
add_waker(app)


@app.task(name=queue.RECORD_INTAKE)
def record_intake() -> None:
    """Record the deliveries that wait in the intake and in the spool, and those that follow soon."""
    resources = WorkerProcess.resources
    try:
        resources.recorder.drain(listen_until=resources.stop)
    except StoreUnavailable as exc:
        log.warning("recording_postponed", reason=str(exc))


@app.task(name=queue.RUN_TASK)
def run(task_ids: int | list[int]) -> None:
    """Run one task, or several together with other threads of this process."""
    first, *others = task_ids if isinstance(task_ids, list) else [task_ids]
    left = [task_id for task_id in others if not WorkerProcess.share(_run_one, task_id)]
    for task_id in (first, *left):
        _run_one(task_id)


def _run_one(task_id: int) -> None:
    run_task(WorkerProcess.resources, STEPS, task_id)


@app.task(name=queue.KEEP_ALIVE)
def refresh_tokens(tenant_id: int) -> None:
    """Refresh an idle tenant's tokens before they expire."""
    keep_alive(WorkerProcess.resources, int(tenant_id))


@app.task(name=queue.EXPIRE)
def delete_expired() -> None:
    """Delete rows and files that are older than the retention settings allow."""
    retention.delete_expired(WorkerProcess.resources)


@app.task(name=queue.REPAIR)
def repair(repair_id: int) -> None:
    """Do one slice of a repair."""
    run_repair(WorkerProcess.resources, int(repair_id))


@app.task(name=queue.RUN_JOB)
def carry_out_job(job_id: int) -> None:
    """Change the next tasks of a job."""
    run_job(WorkerProcess.resources, int(job_id))


@app.task(name=queue.ERASE_ADDRESS)
def carry_out_erasure(erasure_id: int) -> None:
    """Look through the next events for an address that is erased."""
    erase_address(WorkerProcess.resources, int(erasure_id))


@app.task(name=queue.NOTIFY)
def notify(task_id: int) -> None:
    """Send one notification to the host application."""
    run_notification(WorkerProcess.resources, int(task_id))


class WorkerProcess:
    """The resources and the heartbeat of this process, made when it starts and not at import.

    With prefork each child has its own, and the parent has none: it runs no tasks. The watchdog belongs to the process
    that consumes the queue, which with prefork is the parent.
    """

    kind: str
    takes_work: bool
    threads: int
    resources: Resources
    watchdog: Watchdog
    executor: ThreadPoolExecutor | None = None

    @classmethod
    def share(cls, function: Callable[[int], None], argument: int) -> bool:
        """Have another thread of Celery's pool call the function; False without threads, or when they stop."""
        if cls.executor is None:
            return False
        with suppress(RuntimeError):  # it takes no more
            cls.executor.submit(function, argument)
            return True
        return False

    @classmethod
    def runs_tasks(cls) -> bool:
        """Whether this process runs tasks itself."""
        return hasattr(cls, "resources")


@signals.setup_logging.connect
def set_up_logging(**_: Any) -> None:
    """Configure logging in place of Celery. The queues are known by then."""
    WorkerProcess.kind = "recorder" if queue.RECORD_QUEUE in app.amqp.queues.consume_from else "worker"
    logs.configure(settings, WorkerProcess.kind)
    logs.log_start(WorkerProcess.kind)


@signals.celeryd_after_setup.connect
def open_process(instance: Any, **_: Any) -> None:
    """Open this process's resources before it consumes. With prefork each child opens its own after the fork.

    It waits here until the schema is migrated. A signal ends it at once: nothing runs yet.
    """
    queues = instance.app.amqp.queues.consume_from
    WorkerProcess.takes_work = bool(set(queues) - {queue.RECORD_QUEUE})
    _check_settings()
    _open_private_port()
    forks = issubclass(instance.pool_cls, prefork.TaskPool)
    WorkerProcess.threads = 1 if forks else instance.concurrency
    redis_url = settings.redis_url.get_secret_value()
    WorkerProcess.watchdog = Watchdog(instance, redis_url, stuck_seconds=_longest_task_seconds())
    if not forks:
        _open_resources()
    private_port.serve(ready)
    wait_until_current(settings.database_url.get_secret_value(), time.sleep)


@signals.worker_process_init.connect
def open_child(**_: Any) -> None:
    """Open a prefork child's resources and start its heartbeat; a child runs one task at a time."""
    _open_resources()
    WorkerProcess.resources.heartbeat.start()


@signals.worker_ready.connect
def begin(sender: Any, **_: Any) -> None:
    """Start heartbeat and watchdog once the process can take tasks."""
    WorkerProcess.executor = getattr(sender.pool, "executor", None)
    if WorkerProcess.runs_tasks():
        WorkerProcess.resources.heartbeat.start()
        if WorkerProcess.takes_work:
            _say_missing_steps()
    WorkerProcess.watchdog.start()
    metrics.show(metrics.BuildInfo(WorkerProcess.kind))
    service_manager.notify(service_manager.READY)


@signals.worker_shutting_down.connect
def ask_to_stop(**_: Any) -> None:
    """Ask running downloads to give their tasks back; every shorter step finishes."""
    WorkerProcess.watchdog.stop()
    if WorkerProcess.runs_tasks():
        WorkerProcess.resources.stop.set()


@signals.worker_shutdown.connect
@signals.worker_process_shutdown.connect
def close_process(**_: Any) -> None:
    """Stop the heartbeat and close the resources after the last task has ended."""
    if WorkerProcess.runs_tasks():
        WorkerProcess.resources.heartbeat.stop()
        WorkerProcess.resources.close()
        tracing.stop()


def ready() -> tuple[bool, dict[str, str]]:
    """Say whether this process takes what waits for it. With prefork only its children have a heartbeat."""
    if not WorkerProcess.runs_tasks():
        return readiness.all_of(queue=WorkerProcess.watchdog.check())
    resources = WorkerProcess.resources
    database = readiness.check_database(resources.pool, resources.heartbeat)
    return readiness.all_of(queue=WorkerProcess.watchdog.check(), database=database)


def _say_missing_steps() -> None:
    """Name the steps that endpoints ask for and this worker does not have; another worker may have them."""
    steps = WorkerProcess.resources.host_steps
    with suppress(StoreUnavailable):
        for url in WorkerProcess.resources.pool.run(endpoints.step_urls):
            name = step_name(url)
            if name is not None and name not in steps.found:
                log.error("step_missing", step=name, reason=steps.problem(name))


def _check_settings() -> None:
    """End with 78 when a setting that this kind of process needs is missing; a restart would not help."""
    try:
        load(*(NEEDED_FOR_TASKS if WorkerProcess.takes_work else NEEDED_SETTINGS))
    except ConfigurationError as exc:
        _end_as_wrong_configuration(exc)


def _open_private_port() -> None:
    try:
        private_port.listen(settings)
    except ConfigurationError as exc:
        _end_as_wrong_configuration(exc)


def _end_as_wrong_configuration(error: ConfigurationError) -> NoReturn:
    sys.stderr.write(f"{error}\n")
    sys.stderr.flush()
    os._exit(EXIT_CONFIGURATION)  # Celery swallows the exceptions of signal handlers, SystemExit among them


def _open_resources() -> None:
    kind = WorkerProcess.kind
    tracing.start(kind)
    try:
        WorkerProcess.resources = open_resources(
            settings,
            app,
            kind=kind,
            runs_tasks=WorkerProcess.takes_work,
            threads=WorkerProcess.threads,
        )
    except ConfigurationError as exc:
        _end_as_wrong_configuration(exc)
    except Exception:
        # Celery swallows the exceptions of signal handlers and would go on to consume without resources.
        log.exception("worker_not_started", kind=kind)
        os._exit(1)


def _longest_task_seconds() -> float:
    """Return how long a task may take. A recorder's task goes on for as long as deliveries wait."""
    if WorkerProcess.kind == "recorder":
        return math.inf
    return CallDeadlines().for_file(settings.max_attachment_bytes) + STUCK_MARGIN_SECONDS
