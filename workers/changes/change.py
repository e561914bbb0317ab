"""Makes one change of a conversation in Front, once: records the intent, writes to Front, records the confirmation.

An intent without a confirmation means that nobody knows whether the write happened. The next attempt then reads the
conversation in Front before it decides.

An attempt that ends without its change leaves its reading to the next one, and to the conversation's other actions.
They read again only what is missing, or when something of the conversation was recorded since.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Protocol, TypeVar

from shared import failpoints
from shared.actions import Observation, ObservedEvent, Snapshot
from shared.connection.vault import UnreadableSecret
from shared.db.core.pool import Connection
from shared.db.tasks import actions
from shared.db.tasks.events import record_merge
from shared.errors import ConversationMoved, FrontUnavailable, NotYet, Parking, PermanentError, UnsafeRedirect
from shared.front.client import MAX_MERGES, TenantClient
from shared.models import Task
from workers.attempts.attempt import Attempt
from workers.changes.precedence import (
    API_SOURCES,
    CHANGE_WEBHOOKS,
    CLOCK_SKEW,
    TAG_WEBHOOKS,
    Precedence,
    Proceed,
    Settle,
    Wait,
)


class Facts(Protocol):
    """The state of a change by our rows. `conversation_id` is the conversation's id at Front now."""

    @property
    def event_id(self) -> int: ...

    @property
    def conversation_id(self) -> str: ...


F = TypeVar("F", bound=Facts)


class ConversationChange(Protocol[F]):
    """The parts of a change that depend on its kind: its rows, its decisions and its call to Front."""

    def begin_undisputed(self, conn: Connection, task: Task) -> F | None:
        """Record the intent if our rows show nothing that may stand against it; else do nothing and return None."""

    def load_facts(self, conn: Connection, task: Task) -> F:
        """Read our rows; lock task and conversation until the transaction ends. Raises Fenced."""

    def as_untried(self, facts: F) -> F:
        """Return the facts as if nothing had been tried and the conversation had just been read."""

    def decide_from_rows(self, facts: F) -> Precedence:
        """Decide from our own rows."""

    def snapshot_seconds(self, facts: F, /) -> float:
        """Return how old a snapshot of the conversation may be, of which nothing was recorded since."""

    def events_needed_since(self, facts: F, front: Observation) -> datetime | None:
        """Return since when the conversation's events matter; None where its status and tags tell enough."""

    def decide_from_front(self, facts: F, front: Observation) -> Settle | None:
        """Decide from the conversation in Front; None means that the change is to be written."""

    def calls_needed(self, facts: F) -> int:
        """Return how many calls to Front it takes at most to read the conversation and make the change."""

    def record_intent(self, conn: Connection, event_id: int) -> None:
        """Record that the change is about to be sent."""

    def withdraw_intent(self, conn: Connection, event_id: int) -> None:
        """Record that the change was not sent after all."""

    def record_wait(self, conn: Connection, event_id: int, reason: str) -> None:
        """Record why the change waits."""

    def send(self, front: TenantClient, facts: F) -> None:
        """Send the change to Front, once."""

    def verify(self, front: TenantClient, facts: F) -> None:
        """Check that Front did what it accepted, where its documents do not promise it. Raises what shows otherwise."""

    def confirm(self, attempt: Attempt, facts: F) -> None:
        """End the attempt: the change was made. Raises Fenced."""

    def settle(self, attempt: Attempt, task_state: str, settled: Settle) -> None:
        """End the attempt without a write to Front, with its task in this state. Raises Fenced."""


def make_change(attempt: Attempt, change: ConversationChange[F]) -> None:
    """Make the change, unless something has overruled it.

    When Front has merged the conversation, everything is decided anew for both as one: the other's files count, too.
    """
    for _ in range(MAX_MERGES + 1):
        try:
            return _make(attempt, change)
        except ConversationMoved as moved:
            _record_merge(attempt, moved)
    raise UnsafeRedirect(f"the conversation was redirected {MAX_MERGES + 1} times; it was not followed further")


def _make(attempt: Attempt, change: ConversationChange[F]) -> None:
    task = attempt.task
    if task.is_live and (begun := attempt.in_autocommit(lambda conn: change.begin_undisputed(conn, task))):
        _write(attempt, change, begun)
        return
    facts, decision, snapshot = attempt.transaction(lambda conn: _decide(conn, attempt, change))
    if snapshot:
        if settled := change.decide_from_front(facts, _observe(attempt, change, facts, snapshot)):
            _settle(attempt, change, settled)
            return
        facts, decision = attempt.transaction(lambda conn: _decide_after_reading(conn, attempt, change))
    match decision:
        case Settle():
            _settle(attempt, change, decision)
        case Proceed():
            _write(attempt, change, facts)


def _decide(conn: Connection, attempt: Attempt, change: ConversationChange[F]) -> tuple[F, Precedence, Snapshot | None]:
    """Decide from our rows. The same transaction puts the task back to wait, or records the intent to write.

    It returns a snapshot when the conversation is to be read first.
    """
    facts = change.load_facts(conn, attempt.task)
    decision = change.decide_from_rows(facts)
    if isinstance(decision, Proceed) and not decision.read_first:
        change.record_intent(conn, facts.event_id)
    _put_back_to_wait(conn, attempt, change, decision)
    reads_first = isinstance(decision, Proceed) and decision.read_first
    return facts, decision, _snapshot(conn, change, facts) if reads_first else None


def _snapshot(conn: Connection, change: ConversationChange[F], facts: F) -> Snapshot:
    return actions.snapshot(
        conn,
        facts.event_id,
        seconds=change.snapshot_seconds(facts),
        status_changes=CHANGE_WEBHOOKS,
        tag_changes=TAG_WEBHOOKS,
        api_sources=API_SOURCES,
    )


def _decide_after_reading(conn: Connection, attempt: Attempt, change: ConversationChange[F]) -> tuple[F, Precedence]:
    """Decide again from our rows, since Front shows that nothing happened: files or messages may be new."""
    facts = change.as_untried(change.load_facts(conn, attempt.task))
    decision = change.decide_from_rows(facts)
    if isinstance(decision, Proceed):
        change.record_intent(conn, facts.event_id)
    else:
        change.withdraw_intent(conn, facts.event_id)
    _put_back_to_wait(conn, attempt, change, decision)
    return facts, decision


def _put_back_to_wait(conn: Connection, attempt: Attempt, change: ConversationChange[F], decision: Precedence) -> None:
    if isinstance(decision, Wait):
        change.record_wait(conn, attempt.task.event_id, decision.reason)
        attempt.put_back(conn, decision.seconds, why=decision.reason)


def _observe(attempt: Attempt, change: ConversationChange[F], facts: F, snapshot: Snapshot) -> Observation:
    """Read in Front the part of the conversation that the snapshot lacks: its state, its events, both or nothing."""
    calls = change.calls_needed(facts)
    observation = snapshot.observation or _read_conversation(attempt.front(calls=calls), facts)
    attempt.snapshot = replace(snapshot, observation=observation)
    since = change.events_needed_since(facts, observation)
    if since and not observation.has_events_since(since):
        events = _read_events(attempt.front(calls=calls - 1), facts, since)
        observation = replace(observation, events=events, events_since=since)
        attempt.snapshot = replace(snapshot, observation=observation)
    if snapshot.others_open and observation != snapshot.observation:
        attempt.transaction(attempt.keep_snapshot)
    return observation


def _read_conversation(front: TenantClient, facts: Facts) -> Observation:
    found = front.conversation(facts.conversation_id)
    if found.id != facts.conversation_id:
        raise ConversationMoved("merged, as reading it showed", merged_id=facts.conversation_id, surviving_id=found.id)
    return Observation(status=found.status, tag_ids=found.tag_ids)


def _read_events(front: TenantClient, facts: Facts, since: datetime) -> tuple[ObservedEvent, ...]:
    return tuple(
        ObservedEvent(
            front_id=event.id,
            type=event.type,
            source=event.source,
            emitted_at=event.emitted_at or since,
            target_id=event.target_id,
        )
        for event in front.conversation_events(facts.conversation_id, since=since - CLOCK_SKEW)
    )


def _write(attempt: Attempt, change: ConversationChange[F], facts: F) -> None:
    _send(attempt, change, facts)
    failpoints.reach("patched_before_confirm", of=attempt.task.kind)
    change.verify(attempt.front(), facts)
    change.confirm(attempt, facts)


def _send(attempt: Attempt, change: ConversationChange[F], facts: F) -> None:
    """Send the change. When it certainly did not happen, withdraw the intent, so that nothing is left unclear."""
    try:
        front = attempt.front()
        with front.until(attempt.write_deadline()):
            failpoints.reach("intent_before_patch", of=attempt.task.kind)
            change.send(front, facts)
    except (NotYet, Parking, PermanentError, FrontUnavailable, UnreadableSecret):
        attempt.commit_despite_outage(lambda conn: change.withdraw_intent(conn, facts.event_id))
        raise


def _record_merge(attempt: Attempt, moved: ConversationMoved) -> None:
    attempt.transaction(lambda conn: record_merge(conn, attempt.task.tenant_id, moved.merged_id, moved.surviving_id))


def _settle(attempt: Attempt, change: ConversationChange[F], settled: Settle) -> None:
    """End the attempt without a write. The task takes the change's state, or `done` if the change was found made."""
    task_state = "done" if settled.state == "confirmed" else settled.state
    change.settle(attempt, task_state, settled)
