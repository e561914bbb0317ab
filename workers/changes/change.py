"""Makes one change of a conversation at Front, once: intent first, then the write, then the confirmation."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol, TypeVar

from shared import failpoints
from shared.connection.vault import UnreadableSecret
from shared.db.core.pool import Connection
from shared.db.tasks.events import note_merge
from shared.errors import ConversationMoved, FrontUnavailable, NotYet, Parking, PermanentError, UnsafeRedirect
from shared.front.client import MAX_MERGES, TenantClient
from shared.models import Task
from workers.attempts.attempt import Attempt
from workers.changes.precedence import CLOCK_SLACK, Observation, Proceed, Seen, Settle, Wait


class Facts(Protocol):
    """What our own rows say about a change: its event, and the conversation as it is called at Front now."""

    @property
    def event_id(self) -> int: ...

    @property
    def conversation_id(self) -> str: ...


F = TypeVar("F", bound=Facts)
Decided = tuple[F, Settle | Wait | Proceed]


class Change(Protocol[F]):
    """What one kind of change has of its own: its rows, its decisions and its call."""

    def facts(self, conn: Connection, task: Task) -> F:
        """What our rows say, with task and conversation held from here on. Raises Fenced."""

    def untried(self, facts: F) -> F:
        """The same as if nothing had been tried and Front had just been looked at."""

    def before(self, facts: F) -> Settle | Wait | Proceed:
        """Decide from our own rows."""

    def events_since(self, facts: F, status: str) -> datetime | None:
        """Since when the conversation's events matter; None where its status and tags tell enough."""

    def after(self, facts: F, front: Observation) -> Settle | None:
        """Decide from what Front shows; None: write."""

    def intend(self, conn: Connection, event_id: int) -> None:
        """Write down that the change is about to be sent."""

    def unintend(self, conn: Connection, event_id: int) -> None:
        """Take that back."""

    def explain(self, conn: Connection, event_id: int, reason: str) -> None:
        """Say why it waits."""

    def send(self, front: TenantClient, facts: F) -> None:
        """Ask Front once."""

    def check(self, front: TenantClient, facts: F) -> None:
        """Look whether what Front took was done, where its documents do not say so. Raises what stands against it."""

    def confirm(self, attempt: Attempt, facts: F) -> None:
        """End the attempt: the change was done. Raises Fenced."""

    def settle(self, attempt: Attempt, state: str, settled: Settle) -> None:
        """End the attempt, with its task in `state`, without a write to Front. Raises Fenced."""


def make_change(attempt: Attempt, change: Change[F]) -> None:
    """Make the change, unless something overruled it meanwhile.

    Where the conversation turns out to have been merged, everything is decided anew for the two as one: the other's
    files count, too.
    """
    for _ in range(MAX_MERGES + 1):
        try:
            return _make(attempt, change)
        except ConversationMoved as moved:
            _note_merge(attempt, moved)
    raise UnsafeRedirect(f"the conversation was redirected {MAX_MERGES + 1} times; it was not followed further")


def _make(attempt: Attempt, change: Change[F]) -> None:
    facts, decision = attempt.transaction(lambda conn: _decide(conn, attempt, change))
    if isinstance(decision, Proceed) and decision.look_first:
        if settled := change.after(facts, _look(attempt, change, facts)):
            _settle(attempt, change, settled)
            return
        facts, decision = attempt.transaction(lambda conn: _decide_after_looking(conn, attempt, change))
    match decision:
        case Settle():
            _settle(attempt, change, decision)
        case Proceed():
            _act(attempt, change, facts)


def _decide(conn: Connection, attempt: Attempt, change: Change[F]) -> Decided[F]:
    """Decide; in the same transaction wait, or write the intent where nothing needs to be looked at first."""
    facts = change.facts(conn, attempt.task)
    decision = change.before(facts)
    if isinstance(decision, Proceed) and not decision.look_first:
        change.intend(conn, facts.event_id)
    _wait_if_so(conn, attempt, change, decision)
    return facts, decision


def _decide_after_looking(conn: Connection, attempt: Attempt, change: Change[F]) -> Decided[F]:
    """Decide as if nothing had been tried, since nothing happened: files or messages may have come meanwhile."""
    facts = change.untried(change.facts(conn, attempt.task))
    decision = change.before(facts)
    if isinstance(decision, Proceed):
        change.intend(conn, facts.event_id)
    else:
        change.unintend(conn, facts.event_id)
    _wait_if_so(conn, attempt, change, decision)
    return facts, decision


def _wait_if_so(conn: Connection, attempt: Attempt, change: Change[F], decision: Settle | Wait | Proceed) -> None:
    if isinstance(decision, Wait):
        change.explain(conn, attempt.task.event_id, decision.reason)
        attempt.wait(conn, decision.seconds, why=decision.reason)


def _act(attempt: Attempt, change: Change[F], facts: F) -> None:
    _write(attempt, change, facts)
    failpoints.reach("patched_before_confirm", of=attempt.task.kind)
    change.check(attempt.front(), facts)
    change.confirm(attempt, facts)


def _look(attempt: Attempt, change: Change[F], facts: F) -> Observation:
    """Read the conversation, and its events where its status alone does not tell."""
    front = attempt.front()
    found = front.conversation(facts.conversation_id)
    if found.id != facts.conversation_id:
        raise ConversationMoved("merged, as reading it showed", merged_id=facts.conversation_id, surviving_id=found.id)
    since = change.events_since(facts, found.status)
    events = front.conversation_events(found.id, since=since - CLOCK_SLACK) if since else []
    return Observation(
        status=found.status,
        tag_ids=found.tag_ids,
        events=tuple(
            Seen(
                front_id=event.id,
                type=event.type,
                source=event.source,
                emitted_at=event.emitted_at or since,
                target_id=event.target_id,
            )
            for event in events
            if since
        ),
    )


def _write(attempt: Attempt, change: Change[F], facts: F) -> None:
    """Send the change. When it certainly did not happen, the intent is taken back: nothing is left unclear."""
    try:
        front = attempt.front()
        with front.until(attempt.last_moment_to_write()):
            failpoints.reach("intent_before_patch", of=attempt.task.kind)
            change.send(front, facts)
    except (NotYet, Parking, PermanentError, FrontUnavailable, UnreadableSecret):
        attempt.settle(lambda conn: change.unintend(conn, facts.event_id))
        raise


def _note_merge(attempt: Attempt, moved: ConversationMoved) -> None:
    attempt.transaction(lambda conn: note_merge(conn, attempt.task.tenant_id, moved.merged_id, moved.surviving_id))


def _settle(attempt: Attempt, change: Change[F], settled: Settle) -> None:
    """End without a write. The task's end is the change's, but for one that was found to be made already."""
    state = "done" if settled.state == "confirmed" else settled.state
    change.settle(attempt, state, settled)
