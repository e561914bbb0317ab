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
from shared.db.core.session import wait_until_current
from shared.db.tasks import rescue
from shared.errors import MailroomError, StoreUnavailable
from shared.process import logs, metrics, private_port, readiness, service_manager, stopping, tracing
from shared.settings import load
from workers.process import work_metrics
from workers.resources import EXIT_CONFIGURATION, NEEDED_SETTINGS, Resources, open_resources
from workers.sweeping.periodic_jobs import PeriodicJob, end_lost_roles, periodic_jobs

#: The pause between two looks for waiting work, and the longest between two rounds of due jobs.
LOOK_SECONDS = 1.0
#: The shortest pause, whatever is due: other processes need the processor, too.
MIN_PAUSE_SECONDS = 0.02
#: The pause before another try to become the sweeper, or to reach PostgreSQL.
STANDBY_SECONDS = 1.0
AFTER_A_BUG_SECONDS = 10.0
#: If a job took this long, PostgreSQL hung or this process was frozen. Calls to Redis give up earlier.
HUNG_SECONDS = 8.0
#: If PostgreSQL's clock goes ahead of ours by more between two looks, it was set, or the machine slept.
CLOCK_JUMP_SECONDS = 3.0
log = structlog.get_logger()


def main() -> int:
    """Run until TERM or Ctrl-C (0); 78 when the settings are wrong."""
    try:
        settings = load(*NEEDED_SETTINGS)
        logs.configure(settings, "sweeper")
        failpoints.arm(settings.mailroom_crash_at)
        private_port.listen(settings)
        resources = open_resources(settings, queue.celery_app(settings), kind="sweeper")
    except MailroomError as exc:
        sys.stderr.write(f"{exc}\n")
        return EXIT_CONFIGURATION
    stop = stopping.on_signals()
    rounds = readiness.LastTurn()
    private_port.serve(
        lambda: readiness.all_of(
            rounds=rounds.check(), database=readiness.check_database(resources.pool, resources.heartbeat)
        )
    )
    logs.log_start("sweeper")
    tracing.start("sweeper")
    database_url = settings.database_url.get_secret_value()
    if wait_until_current(database_url, stop.wait):
        resources.heartbeat.start()
        metrics.show(metrics.BuildInfo("sweeper"))
        role = Role(database_url, SWEEPER, process=resources.name)
        service_manager.notify(service_manager.READY)
        sweep(resources, role, stop, rounds)
        resources.heartbeat.stop()
        role.close()
    resources.close()
    return 0


def sweep(resources: Resources, role: Role, stop: stopping.Stop, rounds: readiness.LastTurn) -> None:
    """Run the periodic jobs until `stop`, while this process is the sweeper."""
    jobs = periodic_jobs()
    while not stop.wait(MIN_PAUSE_SECONDS):
        _go_round(rounds)
        try:
            with role.held() as is_sweeper:
                if is_sweeper:
                    log.info("sweeping")
                    _leave_time_to_settle(jobs)  # the role is lost with PostgreSQL, and only then
                    lookout = Lookout(role, jobs)
                while is_sweeper and not stop.is_set():
                    _go_round(rounds)
                    lookout.look_if_due()
                    _run_due(resources, role, jobs)
                    stop.wait(min(_pause_seconds(jobs), lookout.pause_seconds()))
                if not is_sweeper:
                    end_lost_roles(resources)
        except StoreUnavailable as exc:
            log.warning("sweeper_waits", reason=str(exc))
        stop.wait(STANDBY_SECONDS)


def _go_round(rounds: readiness.LastTurn) -> None:
    rounds.note()
    service_manager.notify(service_manager.ALIVE)


class Lookout:
    """Looks once a second which jobs have work, so that the others may rest; also notices that the role is lost.

    When it sees that PostgreSQL hung, that its clock was set or that this process was frozen, it leaves the workers
    time: no process could send a heartbeat meanwhile, or none shows.
    """

    def __init__(self, role: Role, jobs: list[PeriodicJob]):
        self._role = role
        self._jobs = jobs
        self._due = 0.0
        self._last: tuple[float, float] | None = None

    def look_if_due(self) -> None:
        """Look, unless the last look was a moment ago. Raises StoreUnavailable when the role is lost."""
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + LOOK_SECONDS
        try:
            self._note(self._role.run(rescue.waiting_work))
        except StoreUnavailable:
            raise
        except Exception:  # a bug here stops no job: none of them rests then
            log.exception("look_failed")
            for job in self._jobs:
                job.note_work(waits=True)

    def _note(self, work: rescue.WaitingWork) -> None:
        now = time.monotonic()
        self._due = now + max(MIN_PAUSE_SECONDS, min(LOOK_SECONDS, work.next_due_seconds or LOOK_SECONDS))
        if self._was_interrupted(now, work.clock):
            log.warning("time_was_lost", next="the workers get time to settle before anything is taken back")
            _leave_time_to_settle(self._jobs)
        wanted = work.jobs()
        for job in self._jobs:
            job.note_work(waits=job.name in wanted)

    def pause_seconds(self) -> float:
        """Return the seconds until the next look."""
        return max(MIN_PAUSE_SECONDS, self._due - time.monotonic())

    def _was_interrupted(self, now: float, clock: float) -> bool:
        last, self._last = self._last, (now, clock)
        if last is None:
            return False
        passed = now - last[0]
        return passed > HUNG_SECONDS or clock - last[1] > passed + CLOCK_JUMP_SECONDS


def _run_due(resources: Resources, role: Role, jobs: list[PeriodicJob]) -> None:
    """Run the due jobs; the failure of one does not stop the others.

    Raises StoreUnavailable before a job with `after_outage` if PostgreSQL was away, even when it is back. If PostgreSQL
    hung, that job is left out.
    """
    for job in jobs:
        if (began := time.monotonic()) >= job.due:
            job.start(began)
            if job.after_outage:
                role.check()
            if time.monotonic() - began <= HUNG_SECONDS:
                _run(resources, job, began)
            if time.monotonic() - began > HUNG_SECONDS:
                _leave_time_to_settle(jobs)


def _run(resources: Resources, job: PeriodicJob, began: float) -> None:
    try:
        with (
            work_metrics.SWEEP_SECONDS.labels(job.name).time(),
            work_metrics.SWEEP_FAILURES.labels(job.name).count_exceptions(),
        ):
            if job.run(resources):
                job.due = began + job.again_after
    except StoreUnavailable as exc:
        job.postpone(began + max(job.every, 1.0))
        log.warning("job_postponed", job=job.name, reason=str(exc))
    except Exception:
        job.postpone(began + max(job.every, AFTER_A_BUG_SECONDS))
        log.exception("job_failed", job=job.name)


def _pause_seconds(jobs: list[PeriodicJob]) -> float:
    """Return the seconds until the next job is due, within bounds."""
    until_due = min(job.due for job in jobs) - time.monotonic()
    return min(max(until_due, MIN_PAUSE_SECONDS), LOOK_SECONDS)


def _leave_time_to_settle(jobs: list[PeriodicJob]) -> None:
    """Postpone the jobs with `after_outage`: workers that went on during the outage write down their results first."""
    for job in jobs:
        if job.after_outage:
            job.postpone(time.monotonic() + job.after_outage)


if __name__ == "__main__":
    sys.exit(main())
