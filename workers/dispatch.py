"""Sends due tasks to the workers: rows first, then the message, which is only a hint."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

import structlog
from celery import Celery

from shared import failpoints, queue
from shared.db import repairs
from shared.db.core.pool import Connection, Pool
from shared.db.tasks import capacity, dispatching
from shared.db.tasks.dispatching import Picked
from shared.db.tenants import connections
from shared.errors import StoreUnavailable
from workers.attempts.outage import PROBE_SECONDS, SCOPE_AGAIN_SECONDS

#: A tenant's token is tried to be kept alive this often, until it is: far within a day, since a message may be lost.
KEEP_ALIVE_AGAIN_SECONDS = 3_600.0
#: Workers that were full are taken to be so for this long: rounds come hardly less often.
FULL_SECONDS = 0.02
log = structlog.get_logger()


class Dispatcher:
    """Queues due tasks and tells the workers."""

    def __init__(self, pool: Pool, app: Celery, waiting: queue.QueueDepth):
        self._pool = pool
        self._app = app
        self._waiting = waiting
        self._full_until = 0.0

    def top_up(self, tenant_ids: Iterable[int]) -> None:
        """Send what is due of these tenants, as far as the workers have room. Never raises: the sweeper comes later.

        Who found no room a moment ago does not look again: while there is more than the workers can do, rounds send it.
        """
        if time.monotonic() < self._full_until:
            return
        if tenants := sorted(set(tenant_ids)):
            try:
                self._top_up(tenants)
            except StoreUnavailable as exc:
                log.warning("dispatch_postponed", reason=str(exc))

    def _top_up(self, tenants: list[int]) -> None:
        seen = self._pool.run_alone(lambda conn: capacity.look(conn, tenants))
        if seen is None:
            return
        if not seen.has_room:
            self._full_until = time.monotonic() + FULL_SECONDS
            return
        seen = replace(seen, waiting=self._waiting.count())
        self._dispatch(partial(dispatching.queue_of_tenants, tenant_ids=tenants, seen=seen))

    def round(self) -> int:
        """Send what is due of all tenants in fair turns; how many. Raises StoreUnavailable."""
        waiting = self._waiting.count()
        return self._dispatch(lambda conn: dispatching.queue_round(conn, waiting=waiting))

    def probe(self) -> int:
        """Send the tasks that find out whether what held others back is over, when it is time. Raises StoreUnavailable.

        One for what is away for everybody, and one for each tenant that lacks a permission.
        """
        again = SCOPE_AGAIN_SECONDS
        asking = self._dispatch(
            lambda conn: _ahead(dispatching.queue_probe(conn, every_seconds=PROBE_SECONDS, again_seconds=again))
        )
        return asking + self._dispatch(lambda conn: _ahead(dispatching.queue_scope_probes(conn, again_seconds=again)))

    def keep_alive(self) -> None:
        """Have the tokens of tenants refreshed that were not for long. Raises StoreUnavailable: then later."""
        again = partial(connections.pick_idle_connections, again_seconds=KEEP_ALIVE_AGAIN_SECONDS)
        for tenant_id in self._pool.run(again):
            queue.send(self._app, queue.KEEP_ALIVE, tenant_id, low_priority=True)

    def expire(self) -> None:
        """Have what is too old deleted. Raises StoreUnavailable: then later."""
        queue.send(self._app, queue.EXPIRE, low_priority=True)

    def repair(self) -> None:
        """Send the repairs that are due, unless live work waits for the workers already. Raises StoreUnavailable."""
        if self._waiting.count() < capacity.ASSUMED_SLOTS:
            for repair_id in self._pool.run(repairs.pick_repairs):
                queue.send(self._app, queue.REPAIR, repair_id, low_priority=True)

    def close(self) -> None:
        """Give up the connection."""
        self._waiting.close()

    def _dispatch(self, pick: Callable[[Connection], list[Picked]]) -> int:
        picked = self._pool.run(pick)
        if picked:
            failpoints.reach("queued_before_send")
            try:
                queue.send_all(self._app, queue.RUN_TASK, [(task.id, task.behind) for task in picked])
            except StoreUnavailable:
                self._pool.run(partial(dispatching.unqueue, task_ids=[task.id for task in picked]))
                raise
        return len(picked)


def _ahead(task_ids: Iterable[int]) -> list[Picked]:
    return [Picked(id=task_id) for task_id in task_ids]
