"""The net under everything: `python -m workers.sweeping.sweeper`. Independent of Celery but for the messages it sends.

It records when nobody else does, dispatches in fair turns, takes back what lost its message or its worker, and compares
every cause of waiting with the present, so that no release can be missed. A second copy waits as a stand-by.
"""

from __future__ import annotations

import sys
import time

import structlog

from shared import failpoints, queue
from shared.db.core.locks import SWEEPER, Role
from shared.errors import MailroomError, StoreUnavailable
from shared.process import logs, stopping
from shared.process.heartbeat import Heartbeat
from shared.settings import load
from workers.resources import Resources, open_resources
from workers.sweeping.periodic_jobs import Duty, duties

TICK_SECONDS = 0.1
#: Between two looks at what is due, whatever is: the others need the processor, too.
BREATH_SECONDS = 0.02
AFTER_A_BUG_SECONDS = 10.0
#: After a duty that took this long PostgreSQL hung, or this process was frozen; Redis is given up on earlier.
HUNG_SECONDS = 8.0
log = structlog.get_logger()


def sweep(resources: Resources, role: Role, stop: stopping.Stop) -> None:
    """Do the duties until `stop`, while this process is the sweeper."""
    todo = duties()
    while not stop.wait(TICK_SECONDS):
        try:
            with role.held() as held:
                if held:
                    log.info("sweeping")
                    _leave_time_to_settle(todo)  # the role is lost with PostgreSQL, and only then
                while held and not stop.is_set():
                    _do_due(resources, role, todo)
                    role.check()
                    stop.wait(_pause(todo))
        except StoreUnavailable as exc:
            log.warning("sweeper_waits", reason=str(exc))
        stop.wait(1.0)


def _do_due(resources: Resources, role: Role, todo: list[Duty]) -> None:
    """One duty's trouble does not stop the others: Redis may be away, or a row be one that nobody foresaw.

    Raises StoreUnavailable before a duty that leaves others time when PostgreSQL was away, though it may be back; after
    a PostgreSQL that hung the duty is left out.
    """
    for duty in todo:
        if (began := time.monotonic()) >= duty.due:
            duty.due = began + duty.every
            if duty.after_outage:
                role.check()
            if time.monotonic() - began <= HUNG_SECONDS:
                _do(resources, duty, began)
            if time.monotonic() - began > HUNG_SECONDS:
                _leave_time_to_settle(todo)


def _do(resources: Resources, duty: Duty, began: float) -> None:
    try:
        if duty.do(resources):
            duty.due = began + duty.soon
    except StoreUnavailable as exc:
        duty.due = began + max(duty.every, 1.0)
        log.warning("duty_postponed", duty=duty.name, reason=str(exc))
    except Exception:
        duty.due = began + max(duty.every, AFTER_A_BUG_SECONDS)
        log.exception("duty_failed", duty=duty.name)


def _pause(todo: list[Duty]) -> float:
    """Seconds until the next duty, within bounds."""
    until_due = min(duty.due for duty in todo) - time.monotonic()
    return min(max(until_due, BREATH_SECONDS), TICK_SECONDS)


def _leave_time_to_settle(todo: list[Duty]) -> None:
    """Workers that did their work while PostgreSQL was away write it down before their leases are looked at."""
    for duty in todo:
        duty.due = max(duty.due, time.monotonic() + duty.after_outage)


def main() -> int:
    """Run until TERM or Ctrl-C; 78 when the configuration is wrong."""
    try:
        settings = load()
        logs.configure(settings, "sweeper")
        failpoints.arm(settings.mailroom_crash_at)
        resources = open_resources(settings, queue.celery_app(settings), kind="sweeper")
    except MailroomError as exc:
        sys.stderr.write(f"{exc}\n")
        return 78
    stop = stopping.on_signals()
    heartbeat = Heartbeat(resources.pool, resources.name, "sweeper")
    heartbeat.start()
    role = Role(settings.database_url.get_secret_value(), SWEEPER, name=f"sweeper {resources.name}")
    sweep(resources, role, stop)
    heartbeat.stop()
    role.close()
    resources.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
