"""One attempt at a claimed task: its lease, its access to Front, and the transactions that end it.

The lease fences every write: once another attempt owns the task, this one gets `Fenced` and writes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from shared.actions import Snapshot
from shared.connection.budget import Reservation
from shared.connection.client import TenantConnection
from shared.db.core.pool import Connection, retry_until_stored
from shared.db.tasks import actions as action_rows
from shared.db.tasks import events, leases, settling
from shared.db.tasks.capacity import LOST_AFTER_SECONDS
from shared.db.tenants import tenants
from shared.errors import LeaseTooShort
from shared.front.client import TenantClient
from shared.models import Call
from workers.attempts.outage import SCOPE_PROBE_SECONDS, front_answered, wasted_calls
from workers.attempts.retries import Decision, GiveBack, GiveUp, Park, Retry
from workers.resources import Resources

#: A lease is renewed when this part of it is over and the step makes progress.
RENEW_AFTER = 0.25
#: A write to Front starts only with this much of the lease left: the write's own deadline is 10 s.
WRITE_NEEDS_SECONDS = 15.0
#: The same of the time for which this process cannot count as lost. A heartbeat gives it again, and that may take a few
#: seconds. A write that Front answers late has less time then, and its answer stays unclear.
WRITE_NEEDS_ALIVE_SECONDS = 10.0
#: No part of a write leaves in these last seconds of a lease. The next owner must find it done when it reads Front.
AFTER_WRITE_SECONDS = 5.0

#: What an attempt that failed counts as, by what was decided.
FIGURES: Mapping[type[Decision], str] = {GiveUp: "failed", Park: "parked"}

T = TypeVar("T")
Step = Callable[["Attempt"], None]


class Attempt:
    """A claimed task with its lease, and Front with the tenant's token.

    `tenant_has_due_work` tells whether the tenant had work due when the attempt was settled. It is true before that.
    `end` is the state and the code with which the attempt ended the task; None when it put the task back. `figure` is
    what the attempt counts as: None when it put the task back.
    `snapshot` is the conversation as the attempt read it in Front, kept for later attempts if this one ends too early.
    """

    def __init__(self, resources: Resources, claimed: leases.ClaimedTask, claimed_at: float):
        self.resources = resources
        self.task = claimed.task
        self.tenant_has_due_work = True
        self.end: tuple[str, str | None] | None = None
        self.figure: str | None = None
        self.snapshot: Snapshot | None = None
        self._lease_seconds = resources.settings.lease_seconds
        self._claimed_at = self._leased_at = claimed_at
        self._came_to_nothing = False
        self._connection = TenantConnection(
            resources,
            claimed.task.tenant_id,
            reservation=Reservation(is_live=claimed.task.is_live),
            grant=claimed.grant,
        )

    # Front

    @property
    def calls(self) -> list[Call]:
        """The calls to Front so far."""
        return self._connection.calls

    def front(self, *, calls: int = 1) -> TenantClient:
        """Return Front as the task's tenant. Before its first call, reserve all that the attempt may need.

        Raises NeedsReconnect without a token, TokenUnavailable, and BudgetExhausted when not all calls are free.
        """
        front = self._connection.front()
        if not self.calls:
            self._reserve(front, calls)
        return front

    def _reserve(self, front: TenantClient, calls: int) -> None:
        """Reserve the calls. When they are the last for now, hold the tenant's backlog back until more are free."""
        seconds = front.reserve(calls)
        if seconds and not self.task.is_live:
            self.resources.pool.run_autocommit(lambda conn: tenants.rest(conn, self.task.tenant_id, seconds))

    def renew_token(self) -> bool:
        """Use another token than the one that Front refused, from now on; False when there is none."""
        return self._connection.renew()

    def front_as_another_tenant(self) -> TenantClient | None:
        """Return Front as an unrelated tenant, only for a health check; None when there is no other tenant."""
        return self._connection.front_as_another_tenant()

    # The lease

    def renew_lease_if_due(self) -> None:
        """Extend the lease from time to time while the step makes progress. Raises Fenced when the lease is lost."""
        if time.monotonic() - self._leased_at > RENEW_AFTER * self._lease_seconds:
            self._renew_lease()

    def write_deadline(self) -> float:
        """Return the moment, by the monotonic clock, until which a write to Front may leave.

        Nobody else gets the task within AFTER_WRITE_SECONDS of it, so a process that was paused meanwhile sends nothing
        late. Raises LeaseTooShort when a write that starts now could not end in time, Fenced when the lease is lost.
        """
        self.renew_lease_if_due()
        not_lost_until = self._not_lost_until()
        lease_ends, now = self._leased_at + self._lease_seconds, time.monotonic()
        if (left := lease_ends - now) < WRITE_NEEDS_SECONDS:
            raise LeaseTooShort(f"{left:.0f} s of the lease are left; a write needs {WRITE_NEEDS_SECONDS:.0f} s")
        if (left := not_lost_until - now) < WRITE_NEEDS_ALIVE_SECONDS:
            raise LeaseTooShort(
                f"this process counts as alive for {left:.0f} s; a write needs {WRITE_NEEDS_ALIVE_SECONDS:.0f} s"
            )
        return min(lease_ends, not_lost_until) - AFTER_WRITE_SECONDS

    def _not_lost_until(self) -> float:
        """Return until when nobody takes the task away because this process seems lost. Raises Fenced.

        A task that was claimed a moment ago is left alone, whatever the process's heartbeat says.
        """
        until = self._claimed_at + LOST_AFTER_SECONDS
        if until - time.monotonic() >= WRITE_NEEDS_SECONDS:
            return until
        alive = self.resources.heartbeat.alive_for(WRITE_NEEDS_SECONDS)
        if alive.since > self._leased_at:  # it may have counted as lost since the claim, and the task be gone
            self._renew_lease()
        return alive.until

    def _renew_lease(self) -> None:
        started = time.monotonic()
        self.transaction(lambda conn: leases.renew(conn, self.task, lease_seconds=self._lease_seconds))
        self._leased_at = started

    # Transactions, and the end of the attempt

    def transaction(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in one transaction."""
        return self.resources.pool.run(work)

    def in_autocommit(self, work: Callable[[Connection], T]) -> T:
        """Run `work`, whose single statement is a transaction of its own."""
        return self.resources.pool.run_autocommit(work)

    def in_locked_conversation(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in one transaction, with the conversation locked and the lease checked. Raises Fenced."""

        def locked(conn: Connection) -> T:
            leases.lock(conn, self.task)
            return work(conn)

        return self.transaction(locked)

    def commit_despite_outage(self, work: Callable[[Connection], T]) -> T:
        """Run `work` as `in_locked_conversation` does, again and again while PostgreSQL is away.

        A step uses it after it has done something that must not be done twice. Raises Fenced when the lease is lost,
        and StoreUnavailable only when this process is to stop.
        """
        return self._retry_until_stored(lambda: self.in_locked_conversation(work))

    def put_back(self, conn: Connection, seconds: float | None, *, why: str) -> None:
        """Put the task back, due in `seconds` or, with None, when another task releases it. This was no attempt.

        The caller decides to wait in the same transaction: a later change of the conversation finds the task waiting.
        """
        leases.put_back(conn, self.task, seconds=seconds, counts=False)
        self.keep_snapshot(conn)
        self._wrap_up(conn, "ready", None, why)

    def keep_snapshot(self, conn: Connection) -> None:
        """Keep the snapshot of the conversation, if there is one, for later attempts."""
        if self.snapshot:
            action_rows.keep_snapshot(conn, self.task.tenant_id, self.snapshot)

    def finish(self, state: str, write: Callable[[Connection], None], *, code: str | None = None) -> None:
        """End the task together with what `write` adds, in one transaction. Raises Fenced when the lease is lost."""

        def end(conn: Connection) -> None:
            write(conn)
            leases.finish(conn, self.task, state, code=code)
            if "missing_scope" in self.task.probes and self.calls:
                tenants.release_scope(conn, self.task.tenant_id)
            self._wrap_up(conn, state, code, None)

        self.commit_despite_outage(end)
        self.end = (state, code)
        self.figure = "done"

    def finish_action(self, state: str, action_state: str, reason: str) -> None:
        """End the task and its event's action in one statement; otherwise like `finish`. Raises Fenced."""
        if self.task.probes:  # the task may have shown that a cause is gone, which is one more row to write
            self.finish(state, lambda conn: action_rows.settle(conn, self.task.event_id, action_state, reason))
            return
        calls = self.calls
        ended = {"state": state, "action_state": action_state, "reason": reason}
        self.tenant_has_due_work = self._retry_until_stored(
            lambda: self.resources.pool.run_autocommit(
                lambda conn: settling.end_with_action(
                    conn, self.task, **ended, calls=calls, answered=front_answered(calls)
                )
            )
        )
        self.end = (state, None)
        self.figure = "done"

    def rest(self, seconds: float) -> None:
        """Put the task back in its place, since Front's budget has not enough left. Raises Fenced without the lease.

        Nothing was asked of Front, so this was no attempt.
        """
        self._retry_until_stored(
            lambda: self.resources.pool.run_autocommit(lambda conn: leases.rest(conn, self.task, seconds))
        )
        self.tenant_has_due_work = False

    def release_calls(self) -> None:
        """Give back the calls to Front that were reserved and not made."""
        wasted = wasted_calls(self.calls, keeps_reading=self.snapshot is not None) if self._came_to_nothing else 0
        self._connection.release(wasted=wasted)

    def fail(self, decision: Decision, detail: str) -> None:
        """Write down a failed attempt as it was decided. Raises Fenced when the lease is lost."""
        self._came_to_nothing = not isinstance(decision, GiveUp)
        self.commit_despite_outage(lambda conn: self._write_failure(conn, decision, detail))
        self.figure = FIGURES.get(type(decision))

    def _write_failure(self, conn: Connection, decision: Decision, detail: str) -> None:
        code = decision.code
        match decision:
            case Retry(delay=delay):
                leases.put_back(conn, self.task, seconds=delay, counts=True, code=code, detail=detail)
            case GiveBack(delay=delay, tenant=False):
                leases.put_back(conn, self.task, seconds=delay, counts=False, code=code, detail=detail)
            case GiveBack(delay=delay):
                leases.put_back_in_place(conn, self.task, code=code, detail=detail)
                tenants.hold_back(conn, self.task.tenant_id, delay)
            case Park():
                leases.put_back(conn, self.task, seconds=0, counts=False, code=code, detail=detail)
                self._park_tenant(conn, code)
            case GiveUp():
                leases.finish(conn, self.task, "failed", code=code, detail=detail)
                self._fail_file_or_action(conn, code)
        gives_up = isinstance(decision, GiveUp)
        if not gives_up:
            self.keep_snapshot(conn)
        self._wrap_up(conn, "failed" if gives_up else "ready", code, detail)

    def _park_tenant(self, conn: Connection, cause: str) -> None:
        version = self._connection.token_version
        tenants.park(conn, self.task.tenant_id, cause, token_version=version, probe_seconds=SCOPE_PROBE_SECONDS)

    def _fail_file_or_action(self, conn: Connection, code: str) -> None:
        if self.task.attachment_id is not None:
            events.mark_file(conn, self.task.attachment_id, "failed")
        if self.task.kind == "apply_action":
            action_rows.settle(conn, self.task.event_id, "failed", code)

    def _wrap_up(self, conn: Connection, outcome: str, code: str | None, detail: str | None) -> None:
        calls = self.calls
        self.tenant_has_due_work = settling.end_attempt(
            conn, self.task, outcome=outcome, code=code, detail=detail, calls=calls, answered=front_answered(calls)
        )

    def _retry_until_stored(self, write: Callable[[], T]) -> T:
        return retry_until_stored(write, stop=self.resources.stop, event="settling_waits", task_id=self.task.id)
