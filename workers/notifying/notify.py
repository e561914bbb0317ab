"""Runs one attempt of a notification: claims it, sends it to its endpoint, and settles what the answer means.

The notification's row and its endpoint's change in one transaction. A worker that dies in between leaves the row to the
sweeper, and the same id is sent again.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import structlog
from structlog.contextvars import bound_contextvars

from shared import failpoints
from shared.db.core.pool import Connection, retry_until_stored
from shared.db.host import endpoints, facts, notifying
from shared.db.host.endpoints import HeldCause
from shared.db.host.notifying import ClaimedNotification, TakenNotification
from shared.errors import ConfigurationError, Fenced, MailroomError, StoreUnavailable
from shared.host import body
from shared.host.body import links_at
from shared.host.endpoint_rules import step_name
from shared.host.notification import NotificationFacts
from shared.host.signature import signed_headers
from shared.process import tracing
from workers.attempts.run import describe_failure
from workers.notifying import decisions
from workers.notifying.decisions import Again, Decision, GivenUp, Health, Sent
from workers.notifying.sending import SendResult
from workers.resources import Resources

#: A notification is sent only while so much of its lease is left, beyond the time that its endpoint has to answer.
_LEASE_MARGIN_SECONDS = 10.0
#: Nothing more of a claim is sent after this: what was sent waits to be settled, and the rest may go elsewhere.
_CLAIM_SECONDS = 1.0
#: The pause after an attempt that failed on our side, before anything was sent.
_OWN_FAULT_SECONDS = 300.0
_PERMANENT: Mapping[Health | None, HeldCause] = {Health.GONE: "gone", Health.DISABLED: "disabled"}
log = structlog.get_logger()


def run_notification(resources: Resources, task_id: int) -> None:
    """Send the notification if it is due and free, and what its endpoint gets with it.

    Never raises: a failure is settled in the task's row. Without PostgreSQL the task is left to the sweeper.
    """
    try:
        if attempts := _claim(resources, task_id):
            _run(resources, attempts)
            resources.dispatcher.top_up_notifications()
    except StoreUnavailable as exc:
        log.warning("task_left_to_the_sweeper", task_id=task_id, reason=str(exc))


def _claim(resources: Resources, task_id: int) -> list[_Attempt]:
    resources.heartbeat.alive_for(0.0)
    claimed_at = time.monotonic()
    lease = resources.settings.lease_seconds
    claimed = resources.pool.run_autocommit(
        lambda conn: notifying.claim(conn, task_id, resources.name, lease_seconds=lease)
    )
    return [_Attempt(resources, each, until=claimed_at + lease - _LEASE_MARGIN_SECONDS) for each in claimed]


def _run(resources: Resources, attempts: Sequence[_Attempt]) -> None:
    """Send one notification after the other. Once an answer is unusual, the rest goes back to wait.

    What the endpoint took as usual is settled together at the end.
    """
    until = time.monotonic() + _CLAIM_SECONDS
    taken, unsent = list[_Attempt](), list(attempts)
    try:
        loaded = _load(resources, attempts)
        while unsent:
            attempt = unsent.pop(0)
            with bound_contextvars(**attempt.log_ids()), attempt.span():
                attempt.run(loaded.get(attempt.claimed.position))
            if attempt.taken is not None:
                taken.append(attempt)
            if attempt.taken is None or time.monotonic() >= until or resources.stop.is_set():
                break
    finally:
        _settle(resources, [(each, each.taken) for each in taken if each.taken is not None])
        if unsent:
            claims = [each.claimed for each in unsent]
            resources.pool.run_autocommit(lambda conn: notifying.give_back(conn, claims))


def _load(resources: Resources, attempts: Sequence[_Attempt]) -> dict[int, NotificationFacts]:
    """Return what the bodies are made of, by position. One that cannot be read is left for its own attempt to fail."""
    positions = [each.claimed.position for each in attempts]
    try:
        loaded = resources.pool.run_autocommit(lambda conn: facts.load(conn, positions))
    except StoreUnavailable:
        raise
    except Exception:  # noqa: BLE001 -- whatever is wrong with one of them, its own attempt says it
        return {}
    return {each.cursor.position: each for each in loaded}


def _settle(resources: Resources, taken: Sequence[tuple[_Attempt, TakenNotification]]) -> None:
    """End the notifications until PostgreSQL has it: what was sent must not be forgotten."""
    if not taken:
        return
    rows = [row for _, row in taken]
    settled = retry_until_stored(
        lambda: resources.pool.run_autocommit(lambda conn: notifying.settle_taken(conn, rows)),
        stop=resources.stop,
        event="settling_waits",
        task_id=rows[0].claimed.id,
    )
    for attempt, row in taken:
        with bound_contextvars(**attempt.log_ids()):
            attempt.end(is_settled=row.claimed.id in settled)


class _Attempt:
    def __init__(self, resources: Resources, claimed: ClaimedNotification, *, until: float):
        self._resources = resources
        self.claimed = claimed
        self._until = until
        self._figure: str | None = None
        self._status: int | None = None
        self.taken: TakenNotification | None = None

    def log_ids(self) -> dict[str, Any]:
        """Return the ids that every line about the notification has."""
        return {
            "delivery_id": self.claimed.delivery_id,
            "event_id": self.claimed.event_id,
            "tenant_id": self.claimed.tenant_id,
            "conversation_id": self.claimed.conversation_id,
            "task_id": self.claimed.id,
            "endpoint_id": self.claimed.endpoint_id,
        }

    def span(self) -> tracing.Span:
        """Return the span of this attempt."""
        ids = self.log_ids()
        del ids["conversation_id"]
        return tracing.attempt("notify", ids.pop("delivery_id"), attempt=self.claimed.attempts, **ids)

    def run(self, found: NotificationFacts | None) -> None:
        """Send the notification, and settle the answer unless the lease is lost meanwhile.

        An endpoint that took it as usual is left to `settle_taken`: then `taken` is set, and `end` follows.
        """
        try:
            self._send_and_settle(found)
        except Fenced:
            self._log_fenced()
        except StoreUnavailable:
            raise
        except MailroomError as exc:  # a secret that cannot be read, say: another try may help, and so may a person
            log.warning("attempt_failed", kind="notify", code=exc.code, attempt=self.claimed.attempts)
            reason: dict[str, Any] = {"code": exc.code, "detail": describe_failure(exc), "call": None}
            self._store(partial(self._put_back, seconds=_OWN_FAULT_SECONDS, counts=False, **reason))
        except BaseException as exc:
            log.exception("task_failed", kind="notify", code="bug", attempt=self.claimed.attempts)
            self._store(partial(self._fail, code="bug", detail=describe_failure(exc), call=None))
            self._figure = "failed"
        finally:
            if self.taken is None:
                self._note_attempt()

    def end(self, *, is_settled: bool) -> None:
        """Say that the notification was sent, once it is settled; if it is not, the lease was lost."""
        if is_settled and self.taken is not None:
            self._figure = "done"
            _log(Sent(), self.claimed, self._status, self.taken.seconds)
        else:
            self._log_fenced()
        self._note_attempt()

    def _send_and_settle(self, found: NotificationFacts | None) -> None:
        result = self._send(found)
        failpoints.reach("sent_before_settle")
        claimed = self.claimed
        decision = decisions.decide(
            result.answer,
            attempt=claimed.attempts,
            is_probe=claimed.is_probe,
            is_test=claimed.type == "ping",
            jitter=random.random(),  # noqa: S311 -- spreads retries
        )
        word, code = _outcome(decision)
        tracing.note(outcome=word, code=code, failed=code is not None)
        if decision == Sent() and not claimed.is_probe and not claimed.releases:
            self._status = result.answer.status
            self.taken = _taken(claimed, result)
            return
        self._store(partial(self._settle, result=result, decision=decision))
        self._figure = {Sent: "done", GivenUp: "failed"}.get(type(decision))
        _log(decision, claimed, result.answer.status, result.seconds)

    def _log_fenced(self) -> None:
        log.warning("fenced", kind="notify", epoch=self.claimed.lease_epoch)

    def _note_attempt(self) -> None:
        self._resources.figures.note_attempt(self.claimed.tenant_id, self._figure, [])

    def _send(self, found: NotificationFacts | None) -> SendResult:
        """Build the body, sign it with the time of this attempt, and send it."""
        claimed, settings = self.claimed, self._resources.settings
        if not settings.secret_key.get_secret_value():
            raise ConfigurationError("SECRET_KEY is not set for the workers: it signs the links to files")
        found = found or self._load()
        now = time.time()
        content = body.build(found, links=links_at(settings, now), include=claimed.include)
        with tracing.part("notify.send", type=claimed.type, step=step_name(claimed.url)) as span:
            if (step := step_name(claimed.url)) is not None:
                return self._run_step(step, content)
            headers = {
                "Content-Type": "application/json",
                "mailroom-attempt": str(claimed.attempts),
                **signed_headers(found.public_id, int(now), content, self._secrets()),
                **span.headers(),
            }
            result = self._resources.endpoint_client.send(claimed.url, content, headers=headers, until=self._until)
            span.note(status=result.answer.status, failed=not result.answer.status)
            return result

    def _load(self) -> NotificationFacts:
        loaded = self._resources.pool.run_autocommit(lambda conn: facts.load(conn, [self.claimed.position]))
        if not loaded:
            raise Fenced("the notification was deleted with its tenant or by retention")
        return loaded[0]

    def _run_step(self, name: str, content: bytes) -> SendResult:
        resources = self._resources
        return resources.host_steps.run(
            name, content, attempt=self.claimed.attempts, until=self._until, storage=resources.storage
        )

    def _secrets(self) -> list[str]:
        """Return the secrets that sign, the newest first."""
        owner = endpoints.secret_owner(self.claimed.endpoint_id)
        sealed = [each for each in (self.claimed.secret, self.claimed.previous_secret) if each is not None]
        return [self._resources.vault.open(owner, each)["secret"] for each in sealed]

    # Settling

    def _store(self, work: Any) -> None:
        """Run the transaction until it is committed: what was sent must not be forgotten. Raises Fenced."""
        retry_until_stored(
            lambda: self._resources.pool.run(work),
            stop=self._resources.stop,
            event="settling_waits",
            task_id=self.claimed.id,
        )

    def _settle(self, conn: Connection, result: SendResult, decision: Decision) -> None:
        call = _call(self.claimed, result)
        match decision:
            case Sent():
                notifying.settle_sent(conn, _taken(self.claimed, result))
            case Again():
                self._put_back(
                    conn,
                    seconds=decision.delay,
                    counts=decision.counts,
                    code=decision.code,
                    detail=decision.reason,
                    call=call,
                )
            case GivenUp():
                self._fail(conn, code=decision.code, detail=decision.reason, call=call)
        self._settle_endpoint(conn, result, decision)

    def _put_back(self, conn: Connection, **ended: Any) -> None:
        notifying.settle_later(conn, self.claimed, **ended)

    def _fail(self, conn: Connection, *, code: str, detail: str, call: dict[str, Any] | None) -> None:
        notifying.settle_failed(conn, self.claimed, code=code, detail=detail, call=call)

    def _settle_endpoint(self, conn: Connection, result: SendResult, decision: Decision) -> None:
        """Hold, release or leave the endpoint alone for a while, as the answer says."""
        claimed, health = self.claimed, decision.health
        if health in _PERMANENT:
            if endpoints.hold_for_good(conn, claimed.endpoint_id, _PERMANENT[health]):
                log.warning("endpoint_held", endpoint=claimed.endpoint, cause=_PERMANENT[health])
        elif health is Health.WORKS:
            if claimed.is_probe and endpoints.release_if_failing(conn, claimed.endpoint_id):
                log.info("endpoint_released", endpoint=claimed.endpoint)
        elif health is Health.FAILED and isinstance(decision, Again | GivenUp):
            self._count_failure(conn, decision.reason, result.answer.retry_after)
        elif claimed.is_probe:
            notifying.end_probe(conn, claimed.endpoint_id)

    def _count_failure(self, conn: Connection, reason: str, retry_after: float | None) -> None:
        failing = notifying.note_failure(conn, self.claimed.endpoint_id, reason)
        wait = max(decisions.pause_after(failing.failures), retry_after or 0.0)
        if failing.state == "held":
            wait = max(retry_after or 0.0, decisions.next_probe_after(failing.held_seconds))
        elif decisions.holds(failures=failing.failures, failing_seconds=failing.failing_seconds):
            endpoints.hold(conn, self.claimed.endpoint_id, "failures")
            log.warning("endpoint_held", endpoint=failing.name, cause="failures", failures=failing.failures)
            wait = max(retry_after or 0.0, decisions.FIRST_PROBE)
        notifying.leave_alone(conn, self.claimed.endpoint_id, seconds=wait)


def _call(claimed: ClaimedNotification, result: SendResult) -> dict[str, Any] | None:
    """Return the request for the attempt's record, without host and query; None for a step, which makes none."""
    if step_name(claimed.url) is not None:
        return None
    return {
        "method": "POST",
        "path": urlsplit(claimed.url).path or "/",
        "status": result.answer.status,
        "ms": round(result.seconds * 1000),
        "budget_left": None,
    }


def _taken(claimed: ClaimedNotification, result: SendResult) -> TakenNotification:
    return TakenNotification(claimed=claimed, call=_call(claimed, result), seconds=result.seconds)


def _outcome(decision: Decision) -> tuple[str, str | None]:
    """Return the word of log and trace for what was decided, and the code of a failure."""
    words = {Sent: "notification_sent", Again: "attempt_failed", GivenUp: "task_failed"}
    return words[type(decision)], None if isinstance(decision, Sent) else decision.code


def _log(decision: Decision, claimed: ClaimedNotification, status: int | None, seconds: float) -> None:
    word, code = _outcome(decision)
    log.info(
        word,
        kind="notify",
        type=claimed.type,
        code=code,
        status=status,
        attempt=claimed.attempts,
        milliseconds=round(seconds * 1000),
    )
