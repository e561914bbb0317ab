"""The sweeper's periodic jobs: a function for each, and how often it runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial

import structlog
from redis import Redis, RedisError

from shared import failpoints
from shared.connection.budget import Budget
from shared.db import api_answers, counters, repairs
from shared.db.core.locks import lock_conversation
from shared.db.core.pool import Connection
from shared.db.host import endpoints
from shared.db.recording import spool
from shared.db.tasks import actions, capacity, rate_limit, rescue, settling
from shared.db.tenants import quotas
from shared.process import metrics
from shared.redis_clients import brief_redis_client
from workers.changes.precedence import SNAPSHOT_SECONDS
from workers.notifying.decisions import ALARMS
from workers.recording.chunk import adopt_parked_events
from workers.resources import Resources

#: The sweeper itself records a delivery that has waited longer than this.
RECORDER_IS_LATE_SECONDS = 1.0
#: Recording ends after this, however much waits: the other jobs get their turn.
RECORD_SECONDS = 1.0
#: A job without work runs this often all the same.
RESTS_SECONDS = 30.0
#: So long after the last notification was numbered the next one is looked for without a rest.
AWAKE_SECONDS = 3.0
#: Workers settle within this after an outage of PostgreSQL. A lease that ran out meanwhile does not mean a death.
SETTLING_SECONDS = 10.0
#: To count what waits at Front's rate limit may take this part of the sweeper's time.
COUNTING_SHARE = 0.02
log = structlog.get_logger()


@dataclass(kw_only=True)
class PeriodicJob:
    """A job that runs every `every` seconds; `due`, `began` and `not_before` are by the monotonic clock.

    If `run` returns True there is more to do, and the job runs again after `again_after`. A job with `after_outage`
    leaves the workers that many seconds after an outage of PostgreSQL. A job with `rests` runs only so often while
    no work waits for it (`WaitingWork`).
    """

    name: str
    every: float
    run: Callable[[Resources], bool | None]
    again_after: float = 0.0
    after_outage: float = 0.0
    rests: float = 0.0
    due: float = 0.0
    began: float = 0.0
    not_before: float = 0.0
    has_work: bool = False

    def start(self, now: float) -> None:
        """Note that the job begins now, and when it is due again."""
        self.began = now
        self.due = now + (self.rests if self.rests and not self.has_work else self.every)

    def note_work(self, *, waits: bool) -> None:
        """Let a resting job run again as often as it may, if work waits for it."""
        self.has_work = waits
        if waits and self.rests:
            self.due = max(self.not_before, min(self.due, self.began + self.every))

    def postpone(self, until: float) -> None:
        """Let the job run no sooner, whatever waits."""
        self.not_before = until
        self.due = max(self.due, until)


def periodic_jobs() -> list[PeriodicJob]:
    """Make the sweeper's jobs, all of them due at once."""
    return [
        PeriodicJob(name="record_late", every=1.0, again_after=0.25, run=record_late),
        PeriodicJob(name="move_old_entries", every=60.0, run=move_old_entries),
        PeriodicJob(name="dispatch", every=0.1, again_after=0.05, rests=RESTS_SECONDS, run=dispatch),
        PeriodicJob(name="probe", every=1.0, rests=RESTS_SECONDS, run=probe),
        PeriodicJob(name="record_spooled", every=1.0, rests=RESTS_SECONDS, run=record_spooled),
        PeriodicJob(
            name="number_notifications", every=0.1, again_after=0.05, rests=RESTS_SECONDS, run=NumberNotifications()
        ),
        PeriodicJob(name="take_back", every=1.0, rests=RESTS_SECONDS, run=take_back, after_outage=SETTLING_SECONDS),
        PeriodicJob(name="adopt", every=2.0, run=adopt),
        PeriodicJob(name="release_stranded", every=5.0, run=ReleaseStranded()),
        PeriodicJob(name="keep_alive", every=60.0, run=keep_alive),
        PeriodicJob(name="expire", every=60.0, run=expire),
        PeriodicJob(name="begin_repairs", every=15.0, run=begin_repairs),
        PeriodicJob(name="repair", every=1.0, rests=RESTS_SECONDS, run=repair, after_outage=SETTLING_SECONDS),
        PeriodicJob(name="carry_out_jobs", every=1.0, rests=RESTS_SECONDS, run=carry_out_jobs),
        PeriodicJob(name="erase_addresses", every=2.0, run=erase_addresses),
        PeriodicJob(name="notify", every=0.25, again_after=0.1, rests=RESTS_SECONDS, run=notify),
        PeriodicJob(name="report_held_endpoints", every=30.0, run=report_held_endpoints),
        PeriodicJob(name="watch_quotas", every=15.0, run=watch_quotas),
        PeriodicJob(name="forget_processes", every=60.0, run=forget_processes),
        PeriodicJob(name="forget_answers", every=60.0, run=forget_answers),
        PeriodicJob(name="forget_snapshots", every=60.0, run=forget_snapshots),
        PeriodicJob(name="watch_rate_limits", every=5.0, run=WatchRateLimits()),
    ]


def record_late(resources: Resources) -> bool:
    """Record what waits too long: the recorder may be dead, or Redis too full for Celery. True while anything waits."""
    age = resources.intake.oldest_age_seconds()
    if age > RECORDER_IS_LATE_SECONDS and (count := _drain(resources)):
        resources.pool.run(lambda conn: counters.increase(conn, "rescued", count))
        log.warning("recorded_by_sweeper", deliveries=count)
    return age > 0


def record_spooled(resources: Resources) -> None:
    """Record what the door spooled into PostgreSQL while Redis was away."""
    if resources.pool.run(spool.has_deliveries):
        _drain(resources)


def move_old_entries(resources: Resources) -> bool:
    """Move entries of an older release's Redis stream into the intake; True when there were any."""
    return resources.intake.move_old_entries() > 0


def dispatch(resources: Resources) -> bool:
    """Send due tasks of all tenants in fair turns; True when there were any: workers may soon have room again."""
    return resources.dispatcher.send_round() > 0


def probe(resources: Resources) -> None:
    """Send the tasks that find out whether an outage is over, or a missing permission was added."""
    resources.dispatcher.send_probes()


class NumberNotifications:
    """Gives the notifications for the host application their positions in the feed; endpoints get theirs at once.

    Others are likely to follow soon. So it does not rest as soon as none waits: the next look may be a second away.
    Without an endpoint it does: nobody waits for them but readers of the feed, who number what they find.
    """

    def __init__(self) -> None:
        self._awake_until = 0.0

    def __call__(self, resources: Resources) -> bool:
        """Number what waits; True while more is expected."""
        dispatcher, now = resources.dispatcher, time.monotonic()
        if dispatcher.number_notifications() and dispatcher.has_endpoints():
            dispatcher.send_notifications()
            self._awake_until = now + AWAKE_SECONDS
        return now < self._awake_until


def take_back(resources: Resources) -> None:
    """Make tasks due again whose message or worker was lost. Tasks that lost too many workers fail."""
    resources.pool.run(rescue.end_leases_of_lost_processes)
    end_lost_roles(resources)
    for lost in resources.pool.run(rescue.reclaim_lost_tasks):
        log.warning("task_rescued", task_id=lost.id, was=lost.was)
        failpoints.reach("taken_back_before_dispatch")
    for lost in resources.pool.run(rescue.tasks_to_give_up):
        resources.pool.run(partial(_give_up, lost=lost))
        log.warning("task_given_up", task_id=lost.id)


def end_lost_roles(resources: Resources) -> None:
    """Free the role of recorder or sweeper from processes that are lost and whose session goes on."""
    for name in resources.pool.run(rescue.end_roles_of_lost_processes):
        log.warning("role_taken_from_lost_process", process=name)


def adopt(resources: Resources) -> None:
    """Record the parked events of companies that a tenant has connected since, and send their tasks."""
    resources.dispatcher.top_up(adopt_parked_events(resources.pool))


class ReleaseStranded:
    """Releases actions that wait though nothing blocks them. There should be none: each one counts as rescued.

    Each run checks the next of the waiting actions, and after the last ones begins anew.
    """

    def __init__(self) -> None:
        self._after_task_id = 0

    def __call__(self, resources: Resources) -> None:
        """Check the next waiting actions."""
        stranded = resources.pool.run(partial(rescue.stranded_conversations, after=self._after_task_id))
        for tenant_id, conversation_id in stranded.conversations:
            resources.pool.run(partial(_release, tenant_id=tenant_id, conversation_id=conversation_id))
        self._after_task_id = stranded.until


def keep_alive(resources: Resources) -> None:
    """Have the tokens of idle tenants refreshed before they expire."""
    resources.dispatcher.send_token_refreshes()


def expire(resources: Resources) -> None:
    """Have a worker delete expired rows and files."""
    resources.dispatcher.send_retention()


def begin_repairs(resources: Resources) -> None:
    """Begin the periodic repairs that are due."""
    if minutes := resources.settings.repair_minutes:
        resources.pool.run(partial(repairs.request_periodic, every_seconds=60.0 * minutes))


def repair(resources: Resources) -> None:
    """Send the repairs that are due, also those that a dead worker left."""
    for repair_id in resources.pool.run(repairs.reclaim_repairs):
        log.warning("repair_taken_back", repair_id=repair_id)
    resources.dispatcher.send_repairs()


def carry_out_jobs(resources: Resources) -> None:
    """Have workers go on with the jobs that people started."""
    resources.dispatcher.send_jobs()


def erase_addresses(resources: Resources) -> None:
    """Have workers go on with the erasures of addresses."""
    resources.dispatcher.send_erasures()


def notify(resources: Resources) -> bool:
    """Send due notifications of all endpoints in turns, and probes of those that are held; True when there were any."""
    return resources.dispatcher.send_notifications() > 0


def report_held_endpoints(resources: Resources) -> None:
    """Log which endpoints have been held for long: after a quarter of an hour, a day and five days."""
    for held in resources.pool.run(partial(endpoints.due_alarms, ages=ALARMS)):
        log.error(
            "endpoint_is_held",
            endpoint_id=held.id,
            endpoint=held.name,
            tenant_id=held.tenant_id,
            cause=held.cause,
            minutes=round(held.held_seconds / 60),
            alarm=held.alarm,
        )


def watch_quotas(resources: Resources) -> None:
    """Hold the files of tenants that have used up a quota, and release those that have room again."""
    for each in resources.pool.run(quotas.watch):
        event = "quota_used_up" if each.quota else "quota_has_room"
        log.warning(event, tenant_id=each.tenant_id, quota=each.quota or each.before)


def forget_processes(resources: Resources) -> None:
    """Delete the rows of processes that are gone."""
    resources.pool.run(capacity.remove_stale_processes)


def forget_answers(resources: Resources) -> None:
    """Delete the answers of the REST API that are kept no longer."""
    resources.pool.run(api_answers.forget_old)


def forget_snapshots(resources: Resources) -> None:
    """Delete the snapshots of conversations that are too old for any action."""
    resources.pool.run(partial(actions.remove_old_snapshots, seconds=SNAPSHOT_SECONDS))


class WatchRateLimits:
    """Publishes the figures of the tenants at Front's rate limit as metrics, and logs who has reached it."""

    def __init__(self) -> None:
        self._redis: Redis | None = None
        self._not_before = 0.0

    def __call__(self, resources: Resources) -> None:
        """Count and publish, less often where counting takes long."""
        if (began := time.monotonic()) < self._not_before:
            return
        self._redis = self._redis or brief_redis_client(resources.settings.redis_url.get_secret_value())
        budget = Budget(self._redis)
        tenants = resources.pool.run(lambda conn: rate_limit.tenants_at_limit(conn, budget))
        self._not_before = began + (time.monotonic() - began) / COUNTING_SHARE
        with suppress(RedisError):
            metrics.publish_tenants_at_limit(self._redis, [asdict(each) for each in tenants])
        for each in tenants:
            if budget.is_first_report(each.company_id):
                _log_rate_limit(each)


def _log_rate_limit(tenant: rate_limit.TenantAtLimit) -> None:
    log.warning(
        "rate_limit_reached",
        tenant_id=tenant.tenant_id,
        company_id=tenant.company_id,
        limit=tenant.limit,
        used=tenant.used,
        wasted=tenant.wasted,
        waiting=tenant.waiting,
        waiting_live=tenant.waiting_live,
    )


def _drain(resources: Resources) -> int:
    return resources.recorder.drain(max_seconds=RECORD_SECONDS)


def _release(conn: Connection, tenant_id: int, conversation_id: str) -> None:
    lock_conversation(conn, tenant_id, conversation_id)
    counters.increase(conn, "rescued", settling.release_actions(conn, tenant_id, conversation_id))


def _give_up(conn: Connection, lost: rescue.LostTask) -> None:
    if lost.event_id is None:
        rescue.give_up(conn, lost)
        return
    conversation = settling.conversation_of(conn, lost.event_id)
    lock_conversation(conn, *conversation)
    rescue.give_up(conn, lost)
    settling.release_actions(conn, *conversation)
    settling.update_event_state(conn, lost.event_id)
