"""What the sweeper does, each duty for itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import structlog

from shared import failpoints
from shared.db import repairs
from shared.db.core.locks import lock_conversation
from shared.db.core.pool import Connection
from shared.db.tasks import capacity, rescue, settling
from workers.recording.chunk import adopt_parked
from workers.resources import Resources
from workers.sweeping.retention import kept

#: A delivery that waits longer than this is recorded by the sweeper itself.
RECORDER_IS_LATE_SECONDS = 1.0
#: However much waits to be recorded, the other duties get their turn after this.
RECORD_SECONDS = 1.0
#: Leases that ran out while PostgreSQL was away are no deaths: workers that live settle within this.
SETTLING_SECONDS = 10.0
log = structlog.get_logger()


@dataclass(kw_only=True)
class Duty:
    """Something to do every so often; `due` by the monotonic clock.

    `do` may say that there is more to do: then it is done again after `soon`. `after_outage`: how long it leaves
    PostgreSQL to others when that was away.
    """

    name: str
    every: float
    do: Callable[[Resources], bool | None]
    soon: float = 0.0
    after_outage: float = 0.0
    due: float = 0.0


def record_late(resources: Resources) -> None:
    """Record what the recorder leaves waiting: it may be dead, or Redis too full for Celery."""
    if resources.intake.oldest_age_seconds() > RECORDER_IS_LATE_SECONDS and (count := _drain(resources)):
        resources.pool.run(lambda conn: rescue.count(conn, "rescued", count))
        log.warning("recorded_in_the_recorders_stead", deliveries=count)


def record_spooled(resources: Resources) -> None:
    """Record what the door put into PostgreSQL while Redis was away."""
    if resources.pool.run(rescue.something_spooled):
        _drain(resources)


def move_old_entries(resources: Resources) -> bool:
    """Take over what an older release left in Redis under its own key; whether there was anything."""
    return resources.intake.move_old_entries() > 0


def dispatch(resources: Resources) -> bool:
    """Send due tasks of all tenants, in fair turns; whether there were any, so that the workers may soon have room."""
    return resources.dispatcher.send_round() > 0


def probe(resources: Resources) -> None:
    """Let one task find out whether what holds others back is over: an outage, a missing permission."""
    resources.dispatcher.send_probes()


def take_back(resources: Resources) -> None:
    """Make tasks due again whose message or worker was lost; those that lost too many workers fail."""
    for lost in resources.pool.run(rescue.take_back):
        log.warning("rescued", task=lost.id, was=lost.was)
        failpoints.reach("taken_back_before_dispatch")
    for lost in resources.pool.run(rescue.doomed):
        resources.pool.run(partial(_give_up, lost=lost))
        log.warning("gave_up", task=lost.id)


def adopt(resources: Resources) -> None:
    """Work through events whose company a tenant has connected since."""
    resources.dispatcher.top_up(adopt_parked(resources.pool))


class ReleaseStranded:
    """Releases actions that wait for nothing; any found is a rescue. Each time it looks at some, in turns at all."""

    def __init__(self) -> None:
        self._until = 0

    def __call__(self, resources: Resources) -> None:
        """Look at the next ones."""
        look = partial(rescue.stranded_conversations, after=self._until)
        found = resources.pool.run(look)
        for tenant_id, conversation_id in found.conversations:
            resources.pool.run(partial(_release, tenant_id=tenant_id, conversation_id=conversation_id))
        self._until = found.until


def keep_alive(resources: Resources) -> None:
    """Have the tokens of idle tenants refreshed before they die of age."""
    resources.dispatcher.send_token_refreshes()


def expire(resources: Resources) -> None:
    """Have a worker delete what is too old to be kept."""
    if kept(resources.settings):
        resources.dispatcher.send_retention()


def begin_repairs(resources: Resources) -> None:
    """Ask for the periodic repairs whose time has come."""
    if minutes := resources.settings.repair_minutes:
        resources.pool.run(partial(repairs.begin_periodic, every_seconds=60.0 * minutes))


def repair(resources: Resources) -> None:
    """Have gaps repaired, and go on with what a dead worker left."""
    for repair_id in resources.pool.run(repairs.take_back_repairs):
        log.warning("repair_taken_back", repair=repair_id)
    resources.dispatcher.send_repairs()


def forget_processes(resources: Resources) -> None:
    """Drop processes that are gone."""
    resources.pool.run(capacity.forget_processes)


def _drain(resources: Resources) -> int:
    return resources.recorder.drain(most_seconds=RECORD_SECONDS)


def _release(conn: Connection, tenant_id: int, conversation_id: str) -> None:
    lock_conversation(conn, tenant_id, conversation_id)
    rescue.count(conn, "rescued", settling.release(conn, tenant_id, conversation_id))


def _give_up(conn: Connection, lost: rescue.Lost) -> None:
    conversation = settling.conversation_of(conn, lost.event_id)
    lock_conversation(conn, *conversation)
    rescue.give_up_lost(conn, lost)
    settling.release(conn, *conversation)
    settling.update_event(conn, lost.event_id)


def duties() -> list[Duty]:
    """What the sweeper does, and how often."""
    return [
        Duty(name="record_late", every=0.25, do=record_late),
        Duty(name="move_old_entries", every=60.0, do=move_old_entries),
        Duty(name="dispatch", every=0.1, soon=0.05, do=dispatch),
        Duty(name="probe", every=1.0, do=probe),
        Duty(name="record_spooled", every=1.0, do=record_spooled),
        Duty(name="take_back", every=1.0, do=take_back, after_outage=SETTLING_SECONDS),
        Duty(name="adopt", every=1.0, do=adopt),
        Duty(name="release_stranded", every=2.0, do=ReleaseStranded()),
        Duty(name="keep_alive", every=60.0, do=keep_alive),
        Duty(name="expire", every=60.0, do=expire),
        Duty(name="begin_repairs", every=15.0, do=begin_repairs),
        Duty(name="repair", every=1.0, do=repair, after_outage=SETTLING_SECONDS),
        Duty(name="forget_processes", every=60.0, do=forget_processes),
    ]
