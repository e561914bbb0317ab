"""Sends due tasks to the workers: a committed row first, then a Celery message, which is only a hint."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Generic, TypeVar

import structlog
from celery import Celery

from shared import failpoints, queue
from shared.db import jobs, repairs
from shared.db.core.pool import Connection, Pool
from shared.db.host import due_notifications, endpoints, outbox
from shared.db.host.due_notifications import DueNotifications
from shared.db.tasks import capacity, dispatching
from shared.db.tasks.dispatching import QueuedTask
from shared.db.tenants import address_erasures, connections
from shared.errors import StoreUnavailable
from workers.attempts.outage import OUTAGE_PROBE_SECONDS, SCOPE_PROBE_RETRY_SECONDS
from workers.notifying.decisions import allot

#: The pause between two messages that ask for the same tenant's token refresh. It is far shorter than a day, since a
#: message may be lost.
KEEP_ALIVE_RETRY_SECONDS = 3_600.0
#: The time for which full workers are taken to stay full. Rounds come hardly less often.
FULL_SECONDS = 0.02
#: The slots of the workers, and whether there is any endpoint, are read again after this.
REMEMBERED_SECONDS = 2.0
log = structlog.get_logger()

T = TypeVar("T")


class Dispatcher:
    """Queues due tasks in their rows and sends them to the workers."""

    def __init__(self, pool: Pool, app: Celery, queue_depth: queue.QueueDepth):
        self._pool = pool
        self._app = app
        self._queue_depth = queue_depth
        self._full_until = 0.0
        self._published_at = -math.inf
        self._worker_slots = _Remembered(lambda: pool.run_autocommit(capacity.worker_slots))
        self.has_endpoints = _Remembered(lambda: pool.run_autocommit(endpoints.has_any))

    def send_new(self, queued: Sequence[int], tenant_ids: Iterable[int]) -> None:
        """Send new tasks that their transaction queued, and then top up. Never raises: the sweeper comes later."""
        try:
            self._send([QueuedTask(id=task_id) for task_id in queued])
        except StoreUnavailable as exc:
            log.warning("dispatch_postponed", reason=str(exc))
        self.top_up(tenant_ids)

    def top_up(self, tenant_ids: Iterable[int]) -> None:
        """Send the due tasks of these tenants, as far as the workers have room. Never raises: the sweeper comes later.

        For `FULL_SECONDS` after the workers were full it does nothing. The sweeper's rounds send the backlog.
        """
        if time.monotonic() < self._full_until:
            return
        if tenants := sorted(set(tenant_ids)):
            try:
                self._top_up(tenants)
            except StoreUnavailable as exc:
                log.warning("dispatch_postponed", reason=str(exc))

    def send_round(self) -> int:
        """Send due tasks of all tenants in fair turns and return their number. Raises StoreUnavailable."""
        if not self._pool.run_autocommit(dispatching.has_due):
            return 0
        waiting = self._queue_depth.count()
        return self._dispatch(lambda conn: dispatching.queue_round(conn, waiting=waiting))

    def send_probes(self) -> int:
        """Send the probes that are due and return their number. Raises StoreUnavailable.

        A probe is a task that finds out whether the cause that holds others back is gone. There is one for an outage,
        and one for each tenant that lacks a permission.
        """
        retry = SCOPE_PROBE_RETRY_SECONDS
        sent = self._dispatch(
            lambda conn: _queued(dispatching.queue_probe(conn, every_seconds=OUTAGE_PROBE_SECONDS, again_seconds=retry))
        )
        return sent + self._dispatch(lambda conn: _queued(dispatching.queue_scope_probes(conn, again_seconds=retry)))

    def send_token_refreshes(self) -> None:
        """Have the tokens of tenants refreshed that were idle for long. Raises StoreUnavailable: then later."""
        pick = partial(connections.pick_idle_connections, again_seconds=KEEP_ALIVE_RETRY_SECONDS)
        for tenant_id in self._pool.run(pick):
            queue.send(self._app, queue.KEEP_ALIVE, tenant_id, low_priority=True)

    def send_retention(self) -> None:
        """Have a worker delete expired rows and files. Raises StoreUnavailable: then later."""
        queue.send(self._app, queue.EXPIRE, low_priority=True)

    def send_repairs(self) -> None:
        """Send the repairs that are due, unless live work waits for the workers already. Raises StoreUnavailable."""
        if self._queue_depth.count() < capacity.ASSUMED_SLOTS:
            for repair_id in self._pool.run(repairs.pick_repairs):
                queue.send(self._app, queue.REPAIR, repair_id, low_priority=True)

    def send_jobs(self) -> None:
        """Send the running jobs that nobody carries out. Raises StoreUnavailable: then later."""
        for job_id in self._pool.run(jobs.due):
            queue.send(self._app, queue.RUN_JOB, job_id, low_priority=True)

    def send_erasures(self) -> None:
        """Send the erasures of addresses that nobody carries out. Raises StoreUnavailable: then later."""
        for erasure_id in self._pool.run(address_erasures.due):
            queue.send(self._app, queue.ERASE_ADDRESS, erasure_id, low_priority=True)

    def send_notifications(self) -> int:
        """Send due notifications to the workers, by turns of their endpoints, and probes of held ones.

        Returns their number: 0 also while so many messages wait that the workers seem to be away. Raises
        StoreUnavailable.
        """
        if self._queue_depth.count() > 2 * self._worker_slots():
            return 0
        return self._send_notifications(with_probes=True)

    def top_up_notifications(self) -> int:
        """Send due notifications for a worker that has just ended some. Raises StoreUnavailable."""
        return self._send_notifications(with_probes=False)

    def publish(self, *, not_within: float = 0.0) -> None:
        """Number what was noted for the host application, and send it to its endpoints.

        Never raises: the sweeper comes later. It does nothing where there is no endpoint, because whoever reads the
        feed numbers it, nor `not_within` so many seconds after this process did it before.
        """
        now = time.monotonic()
        if now < self._published_at + not_within:
            return
        self._published_at = now
        try:
            if self.has_endpoints():
                self._send_notifications(numbers=True)
        except StoreUnavailable as exc:
            log.warning("dispatch_postponed", reason=str(exc))

    def number_notifications(self) -> int:
        """Give all notifications that wait for one a position, and return their number. Raises StoreUnavailable.

        Whoever numbers looks again afterwards. So a row is left only while another process numbers, which will see it.
        """
        total = 0
        while self._pool.run_autocommit(outbox.has_rows) and (count := self._pool.run(outbox.number)):
            total += count
        return total

    def _send_notifications(self, *, with_probes: bool = False, numbers: bool = False) -> int:
        """Choose until nothing is due or no more may be sent. What became due meanwhile was left to this process.

        `numbers`: give positions first, in the same transaction.
        """
        slots, total = self._worker_slots(), 0
        is_due = numbers or self._pool.run_autocommit(due_notifications.has_due)
        while is_due:
            choice = _Choice(slots, with_probes=with_probes, numbers=numbers)
            total += self._dispatch(choice.choose, queue.NOTIFY)
            is_due = choice.goes_on and self._pool.run_autocommit(choice.has_more)
        return total

    def close(self) -> None:
        """Close the connections to Redis."""
        self._queue_depth.close()

    def _top_up(self, tenants: list[int]) -> None:
        due = self._pool.run_autocommit(lambda conn: capacity.due_work(conn, tenants))
        if due is None:
            return
        if not due.has_capacity:
            self._full_until = time.monotonic() + FULL_SECONDS
            return
        due = replace(due, waiting=self._queue_depth.count())
        self._dispatch(partial(dispatching.queue_for_tenants, tenant_ids=tenants, due=due))

    def _dispatch(self, pick: Callable[[Connection], list[QueuedTask]], message: str = queue.RUN_TASK) -> int:
        picked = self._pool.run(pick)
        self._send(picked, message)
        return len(picked)

    def _send(self, tasks: Sequence[QueuedTask], message: str = queue.RUN_TASK) -> None:
        if tasks:
            failpoints.reach("queued_before_send")
            sends = [(task.id, task.behind) for task in tasks]
            try:
                if message == queue.RUN_TASK:
                    queue.send_tasks(self._app, sends)
                else:
                    queue.send_all(self._app, message, sends)
            except StoreUnavailable:
                self._pool.run(partial(dispatching.unqueue, task_ids=[task.id for task in tasks]))
                raise


class _Choice:
    """Chooses the notifications to be sent, and knows whether another look is worthwhile afterwards."""

    def __init__(self, slots: int, *, with_probes: bool, numbers: bool):
        self._slots = slots
        self._with_probes = with_probes
        self._numbers = numbers
        self._is_full = False
        self.goes_on = False

    def choose(self, conn: Connection) -> list[QueuedTask]:
        """Queue what goes to the workers, in one transaction with few round trips."""
        probes = due_notifications.queue_probes(conn) if self._with_probes else []
        with conn.pipeline():
            count = outbox.start_numbering(conn) if self._numbers else int
            found = due_notifications.start_choosing(conn)
            numbered, chosen = count(), self._queue(conn, found())
        self.goes_on = numbered > 0 or (bool(chosen or probes) and not self._is_full)
        return _queued([*probes, *chosen])

    def has_more(self, conn: Connection) -> bool:
        """Whether more was noted or became due meanwhile. Needs no transaction."""
        if self._numbers and outbox.has_rows(conn):
            return True
        return not self._is_full and due_notifications.has_due(conn)

    def _queue(self, conn: Connection, found: DueNotifications | None) -> list[int]:
        if found is None:
            return []
        allotted = allot(
            found.waiting,
            found.in_flight,
            self._slots,
            slow=found.slow,
            quick=found.quick,
            is_busy=found.others >= self._slots,
        )
        chosen = due_notifications.queue(conn, allotted)
        self._is_full = len(chosen) == sum(allotted.values())
        return chosen


def _queued(task_ids: Iterable[int]) -> list[QueuedTask]:
    """Return these tasks as ones to be sent ahead of every backlog."""
    return [QueuedTask(id=task_id) for task_id in task_ids]


class _Remembered(Generic[T]):
    """Reads a value that changes rarely, and gives it again for `REMEMBERED_SECONDS`."""

    def __init__(self, read: Callable[[], T]):
        self._read = read
        self._last: tuple[float, T] | None = None

    def __call__(self) -> T:
        now = time.monotonic()
        if self._last is None or now - self._last[0] > REMEMBERED_SECONDS:
            self._last = now, self._read()
        return self._last[1]
