"""The net under everything: `python -m workers.sweeper`. Independent of Celery but for the messages it sends.

It records when nobody else does, dispatches in fair turns, takes back what lost its message or its worker, and compares
every cause of waiting with the present, so that no release can be missed. A second copy waits as a stand-by.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import structlog

from shared import logs, queue
from shared.db import processes, rescue, settling
from shared.db.locks import SWEEPER, lock_conversation
from shared.db.pool import Connection
from shared.db.roles import Role
from shared.errors import MailroomError, StoreUnavailable
from shared.settings import load
from workers.heartbeat import Heartbeat
from workers.recording.adopt import adopt_parked
from workers.resources import Resources, open_resources

TICK_SECONDS = 0.1
#: A delivery that waits longer than this is recorded by the sweeper itself.
RECORDER_IS_LATE_SECONDS = 1.0
SCOPE_RETRY_SECONDS = 3_600
log = structlog.get_logger()


@dataclass(kw_only=True)
class Duty:
    """Something to do every so often; `due` by the monotonic clock."""

    name: str
    every: float
    do: Callable[[Resources], None]
    due: float = 0.0


def record_late(resources: Resources) -> None:
    """Record what the recorder leaves waiting: it may be dead, or Redis too full for Celery."""
    if resources.inbox.oldest_age_seconds() > RECORDER_IS_LATE_SECONDS and (count := resources.recorder.drain()):
        resources.pool.run(lambda conn: rescue.count(conn, "rescued", count))
        log.warning("recorded_in_the_recorders_stead", deliveries=count)


def record_spooled(resources: Resources) -> None:
    """Record what the door put into PostgreSQL while Redis was away."""
    if resources.pool.run(rescue.something_spooled):
        resources.recorder.drain()


def dispatch(resources: Resources) -> None:
    """Send due tasks of all tenants, in fair turns."""
    resources.dispatcher.round()


def take_back(resources: Resources) -> None:
    """Make tasks due again whose message or worker was lost."""
    for lost in resources.pool.run(rescue.take_back):
        log.warning("rescued", task=lost.id, was=lost.was, gave_up=lost.gave_up)
        if lost.gave_up:
            resources.pool.run(partial(_settle_lost, event_id=lost.event_id))


def adopt(resources: Resources) -> None:
    """Work through events whose company a tenant has connected since."""
    resources.dispatcher.top_up(adopt_parked(resources.pool))


def release_stranded(resources: Resources) -> None:
    """Release actions that wait for nothing; any found is a rescue."""
    for tenant_id, conversation_id in resources.pool.run(rescue.stranded_conversations):
        resources.pool.run(partial(_release, tenant_id=tenant_id, conversation_id=conversation_id))


def forget_causes(resources: Resources) -> None:
    """Let a missing permission be tried again, and drop processes that are gone."""
    resources.pool.run(lambda conn: rescue.forget_scope_problems(conn, SCOPE_RETRY_SECONDS))
    resources.pool.run(processes.forget)


def _release(conn: Connection, tenant_id: int, conversation_id: str) -> None:
    lock_conversation(conn, tenant_id, conversation_id)
    rescue.count(conn, "rescued", settling.release(conn, tenant_id, conversation_id))


def _settle_lost(conn: Connection, event_id: int) -> None:
    conversation = settling.conversation_of(conn, event_id)
    lock_conversation(conn, *conversation)
    rescue.give_up_lost(conn, event_id)
    settling.release(conn, *conversation)
    settling.update_event(conn, event_id)


def duties() -> list[Duty]:
    """What the sweeper does, and how often."""
    return [
        Duty(name="record_late", every=0.25, do=record_late),
        Duty(name="dispatch", every=TICK_SECONDS, do=dispatch),
        Duty(name="record_spooled", every=1.0, do=record_spooled),
        Duty(name="take_back", every=1.0, do=take_back),
        Duty(name="adopt", every=1.0, do=adopt),
        Duty(name="release_stranded", every=15.0, do=release_stranded),
        Duty(name="forget_causes", every=60.0, do=forget_causes),
    ]


def sweep(resources: Resources, role: Role, stop: threading.Event) -> None:
    """Do the duties until `stop`, while this process is the sweeper."""
    todo = duties()
    while not stop.wait(TICK_SECONDS):
        try:
            with role.held() as held:
                while held and not stop.is_set():
                    _do_due(resources, todo)
                    role.check()
                    stop.wait(TICK_SECONDS)
        except StoreUnavailable as exc:
            log.warning("sweeper_waits", reason=str(exc))
        stop.wait(1.0)


def _do_due(resources: Resources, todo: list[Duty]) -> None:
    """One duty's trouble does not stop the others: Redis may be away while PostgreSQL is not."""
    for duty in todo:
        if (now := time.monotonic()) >= duty.due:
            duty.due = now + duty.every
            try:
                duty.do(resources)
            except StoreUnavailable as exc:
                duty.due = now + max(duty.every, 1.0)
                log.warning("duty_postponed", duty=duty.name, reason=str(exc))


def main() -> int:
    """Run until TERM or Ctrl-C; 78 when the configuration is wrong."""
    try:
        settings = load()
        logs.configure(settings, "sweeper")
        resources = open_resources(settings, queue.celery_app(settings), kind="sweeper")
    except MailroomError as exc:
        sys.stderr.write(f"{exc}\n")
        return 78
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    heartbeat = Heartbeat(resources, "sweeper")
    heartbeat.start()
    role = Role(settings.database_url.get_secret_value(), SWEEPER, name=f"sweeper {resources.name}")
    sweep(resources, role, stop)
    heartbeat.stop()
    role.close()
    resources.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
