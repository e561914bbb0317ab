"""A claimed task: its lease, Front with the tenant's token, and its end; every write is fenced by the lease."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable
from typing import TypeVar

import structlog

from shared.connection.client import TenantConnection
from shared.db.core.pool import Connection
from shared.db.core.session import persist
from shared.db.tasks import actions as action_rows
from shared.db.tasks import events, leases, rescue, settling
from shared.errors import LeaseTooShort, MailroomError, NotYet
from shared.front.client import TenantClient
from shared.models import Call, Task
from shared.process.scrub import hide
from workers.attempts.outage import SCOPE_SECONDS, answered
from workers.attempts.retries import Decision, GiveBack, GiveUp, Park, Retry
from workers.resources import Resources

DETAIL = 4_000
log = structlog.get_logger()

T = TypeVar("T")
Step = Callable[["Attempt"], None]

#: Renew a lease of which this part is over when there is progress.
RENEW_AFTER = 0.25
#: A write to Front is only started with this much of the lease left: its own deadline is 10 s.
WRITE_NEEDS_SECONDS = 15.0
#: Nothing of a write leaves in the last seconds of a lease: the next owner must find it done when it looks.
AFTER_WRITE_SECONDS = 5.0


def log_failure(task: Task, exc: BaseException) -> None:
    """Log what ended an attempt."""
    code = exc.code if isinstance(exc, MailroomError) else "bug"
    event = "put_back" if isinstance(exc, NotYet) else "attempt_failed"
    log.log(importance(exc), event, task=task.id, kind=task.kind, code=code, attempt=task.attempts)


def importance(exc: BaseException) -> int:
    """The log level of what ended an attempt: waiting for budget is everyday, a bug is not."""
    if isinstance(exc, NotYet):
        return logging.DEBUG
    return logging.INFO if isinstance(exc, MailroomError) else logging.ERROR


def detail_of(error: BaseException) -> str:
    """What happened, for whoever looks at the failed task: our own words, or where the code broke."""
    if isinstance(error, MailroomError):
        return hide(str(error))[:DETAIL]
    frames = "".join(traceback.format_tb(error.__traceback__)[-12:])
    return f"{frames}{type(error).__name__}"[-DETAIL:]


class Attempt:
    """A claimed task, its lease, and Front with the tenant's token.

    `more_is_due`: whether the tenant had work due when the attempt was settled, or may have where it was not.
    """

    def __init__(self, resources: Resources, claimed: leases.Claimed, claimed_at: float):
        self.resources = resources
        self.task = claimed.task
        self.more_is_due = True
        self._lease = resources.settings.lease_seconds
        self._leased_at = claimed_at
        self._connection = TenantConnection(resources, claimed.task.tenant_id, grant=claimed.grant)

    @property
    def calls(self) -> list[Call]:
        """What was asked of Front so far."""
        return self._connection.calls

    def front(self) -> TenantClient:
        """Front as the task's tenant. Raises NeedsReconnect when the tenant has no token, TokenUnavailable."""
        return self._connection.front()

    def renew_token(self) -> bool:
        """Whether there is another token than the one that Front refused; it is used from now on."""
        return self._connection.renew()

    def front_of_another(self) -> TenantClient | None:
        """Front as a tenant that has nothing to do with the task: only to ask whether it answers. None: nobody can."""
        return self._connection.front_as_another_tenant()

    def transaction(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in one transaction."""
        return self.resources.pool.run(work)

    def in_conversation(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in one transaction with the conversation locked and the lease checked. Raises Fenced."""

        def locked(conn: Connection) -> T:
            leases.hold(conn, self.task)
            return work(conn)

        return self.transaction(locked)

    def finish(self, state: str, write: Callable[[Connection], None], *, code: str | None = None) -> None:
        """End the task, with what `write` adds, in one transaction. Raises Fenced when the lease is lost."""

        def end(conn: Connection) -> None:
            write(conn)
            leases.finish(conn, self.task, state, code=code)
            if "missing_scope" in self.task.probes and self.calls:
                rescue.release_scope(conn, self.task.tenant_id)
            self._wrap_up(conn, state, code, None)

        self.settle(end)

    def finish_action(self, state: str, action_state: str, reason: str) -> None:
        """End the task and its event's action, as `finish` would, in one statement. Raises Fenced."""
        if self.task.probes:  # it may have shown that a cause is gone, which is one more row
            self.finish(state, lambda conn: action_rows.settle(conn, self.task.event_id, action_state, reason))
            return
        calls = self.calls
        ended = {"state": state, "action_state": action_state, "reason": reason}
        self.more_is_due = self._persist(
            lambda: self.resources.pool.run_alone(
                lambda conn: settling.end_with_action(conn, self.task, **ended, calls=calls, answered=answered(calls))
            )
        )

    def settle(self, work: Callable[[Connection], T]) -> T:
        """`in_conversation`, tried for as long as PostgreSQL is away: what was done must not be done again.

        Raises Fenced, and StoreUnavailable only when this worker is to stop.
        """
        return self._persist(lambda: self.in_conversation(work))

    def _persist(self, write: Callable[[], T]) -> T:
        return persist(write, stop=self.resources.stop, event="settling_waits", task=self.task.id)

    def wait(self, conn: Connection, seconds: float | None, *, why: str) -> None:
        """Put the task back without counting it; `seconds` None: until another task releases it.

        In the transaction that decided to wait: what happens to the conversation after it finds the task waiting.
        """
        leases.put_back(conn, self.task, seconds=seconds, counts=False)
        self._wrap_up(conn, "ready", None, why)

    def renew_if_due(self) -> None:
        """Extend the lease now and then while there is progress. Raises Fenced when it is lost."""
        if time.monotonic() - self._leased_at > RENEW_AFTER * self._lease:
            started = time.monotonic()
            self.transaction(lambda conn: leases.renew(conn, self.task, lease_seconds=self._lease))
            self._leased_at = started

    def last_moment_to_write(self) -> float:
        """Until when, by the monotonic clock, a write may leave: well within the lease, also after a pause.

        Raises LeaseTooShort when a write started now could not be over by then.
        """
        self.renew_if_due()
        ends = self._leased_at + self._lease
        left = ends - time.monotonic()
        if left < WRITE_NEEDS_SECONDS:
            raise LeaseTooShort(f"{left:.0f} s of the lease are left; a write needs {WRITE_NEEDS_SECONDS:.0f} s")
        return ends - AFTER_WRITE_SECONDS

    def fail(self, decision: Decision, detail: str) -> None:
        """Settle a failure as it was decided. Raises Fenced when the lease is lost."""
        self.settle(lambda conn: self._settle_failure(conn, decision, detail))

    def _settle_failure(self, conn: Connection, decision: Decision, detail: str) -> None:
        put_back = {"code": decision.code, "detail": detail}
        match decision:
            case Retry():
                leases.put_back(conn, self.task, seconds=decision.delay, counts=True, **put_back)
            case GiveBack():
                leases.put_back(conn, self.task, seconds=decision.delay, counts=False, **put_back)
                if decision.tenant:
                    rescue.hold_back(conn, self.task.tenant_id, decision.delay)
            case Park():
                leases.put_back(conn, self.task, seconds=0, counts=False, **put_back)
                self._park(conn, decision.code)
            case GiveUp():
                leases.finish(conn, self.task, "failed", code=decision.code, detail=detail)
                self._give_up(conn, decision.code)
        self._wrap_up(conn, "failed" if isinstance(decision, GiveUp) else "ready", decision.code, detail)

    def _park(self, conn: Connection, cause: str) -> None:
        version = self._connection.token_version
        rescue.park(conn, self.task.tenant_id, cause, token_version=version, probe_seconds=SCOPE_SECONDS)

    def _give_up(self, conn: Connection, code: str) -> None:
        if self.task.attachment_id is not None:
            events.mark_file(conn, self.task.attachment_id, "failed")
        if self.task.kind == "apply_action":
            action_rows.settle(conn, self.task.event_id, "failed", code)

    def _wrap_up(self, conn: Connection, outcome: str, code: str | None, detail: str | None) -> None:
        calls = self.calls
        self.more_is_due = settling.wrap_up(
            conn, self.task, outcome=outcome, code=code, detail=detail, calls=calls, answered=answered(calls)
        )
