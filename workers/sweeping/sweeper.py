"""The sweeper, `python -m workers.sweeping.sweeper`: it catches the work that the other processes lose.

It records when the recorder does not, and dispatches in fair turns. It takes back tasks that lost their message or
worker. It compares every cause of waiting with the present, so that no release is missed. Of Celery it only needs to
send messages. A second copy is a standby.
"""

from __future__ import annotations

import sys
import time

import structlog

from shared import failpoints, queue
from shared.db.core.locks import SWEEPER, Role
from shared.db.core.pool import wait_until_current
from shared.errors import MailroomError, StoreUnavailable
from shared.process import logs, stopping
from shared.process.heartbeat import Heartbeat
from shared.settings import load
from workers.resources import EXIT_CONFIGURATION, NEEDED_SETTINGS, SWEEPER_CONNECTIONS, Resources, open_resources
from workers.sweeping.periodic_jobs import PeriodicJob, periodic_jobs

#: The longest pause between two rounds of due jobs.
MAX_PAUSE_SECONDS = 0.1
#: The shortest pause, whatever is due: other processes need the processor, too.
MIN_PAUSE_SECONDS = 0.02
#: The pause before another try to become the sweeper, or to reach PostgreSQL.
STANDBY_SECONDS = 1.0
AFTER_A_BUG_SECONDS = 10.0
#: If a job took this long, PostgreSQL hung or this process was frozen. Calls to Redis give up earlier.
HUNG_SECONDS = 8.0
log = structlog.get_logger()


def main() -> int:
    """Run until TERM or Ctrl-C (0); 78 when the settings are wrong."""
    try:
        settings = load(*NEEDED_SETTINGS)
        logs.configure(settings, "sweeper")
        failpoints.arm(settings.mailroom_crash_at)
        resources = open_resources(settings, queue.celery_app(settings), kind="sweeper")
    except MailroomError as exc:
        sys.stderr.write(f"{exc}\n")
        return EXIT_CONFIGURATION
    stop = stopping.on_signals()
    logs.log_start("sweeper")
    database_url = settings.database_url.get_secret_value()
    if wait_until_current(database_url, stop.wait):
        heartbeat = Heartbeat(resources.pool, resources.name, "sweeper", connections=SWEEPER_CONNECTIONS)
        heartbeat.start()
        role = Role(database_url, SWEEPER, name=f"sweeper {resources.name}")
        sweep(resources, role, stop)
        heartbeat.stop()
        role.close()
    resources.close()
    return 0


def sweep(resources: Resources, role: Role, stop: stopping.Stop) -> None:
    """Run the periodic jobs until `stop`, while this process is the sweeper."""
    jobs = periodic_jobs()
    while not stop.wait(MAX_PAUSE_SECONDS):
        try:
            with role.held() as is_sweeper:
                if is_sweeper:
                    log.info("sweeping")
                    _leave_time_to_settle(jobs)  # the role is lost with PostgreSQL, and only then
                while is_sweeper and not stop.is_set():
                    _run_due(resources, role, jobs)
                    role.check()
                    stop.wait(_pause_seconds(jobs))
        except StoreUnavailable as exc:
            log.warning("sweeper_waits", reason=str(exc))
        stop.wait(STANDBY_SECONDS)


def _run_due(resources: Resources, role: Role, jobs: list[PeriodicJob]) -> None:
    """Run the due jobs; the failure of one does not stop the others.

    Raises StoreUnavailable before a job with `after_outage` if PostgreSQL was away, even when it is back. If PostgreSQL
    hung, that job is left out.
    """
    for job in jobs:
        if (began := time.monotonic()) >= job.due:
            job.due = began + job.every
            if job.after_outage:
                role.check()
            if time.monotonic() - began <= HUNG_SECONDS:
                _run(resources, job, began)
            if time.monotonic() - began > HUNG_SECONDS:
                _leave_time_to_settle(jobs)


def _run(resources: Resources, job: PeriodicJob, began: float) -> None:
    try:
        if job.run(resources):
            job.due = began + job.again_after
    except StoreUnavailable as exc:
        job.due = began + max(job.every, 1.0)
        log.warning("job_postponed", job=job.name, reason=str(exc))
    except Exception:
        job.due = began + max(job.every, AFTER_A_BUG_SECONDS)
        log.exception("job_failed", job=job.name)


def _pause_seconds(jobs: list[PeriodicJob]) -> float:
    """Return the seconds until the next job is due, within bounds."""
    until_due = min(job.due for job in jobs) - time.monotonic()
    return min(max(until_due, MIN_PAUSE_SECONDS), MAX_PAUSE_SECONDS)


def _leave_time_to_settle(jobs: list[PeriodicJob]) -> None:
    """Postpone the jobs with `after_outage`: workers that went on during the outage write down their results first."""
    for job in jobs:
        job.due = max(job.due, time.monotonic() + job.after_outage)


if __name__ == "__main__":
    sys.exit(main())
