"""Applies an action to its conversation, once: intent first, then the write, then the confirmation."""

from __future__ import annotations

from dataclasses import replace

from shared import failpoints
from shared.crypto import UnreadableSecret
from shared.db import actions, merging, settling
from shared.db.pool import Connection
from shared.errors import ConversationMoved, FrontUnavailable, NotYet, Parking, PermanentError, UnsafeRedirect
from shared.front.client import MOST_MERGES
from workers.attempt import Attempt
from workers.precedence import (
    API_SOURCES,
    CHANGES,
    CLOCK_SLACK,
    STATUS,
    ActionFacts,
    Observation,
    Proceed,
    Seen,
    Settle,
    Wait,
    after_looking,
    before,
)

Decided = tuple[ActionFacts, Settle | Wait | Proceed]


def apply_action(attempt: Attempt) -> None:
    """Do to the conversation what its event's policy says, unless something overruled it meanwhile.

    Where it turns out to have been merged, everything is decided anew for the two as one: the other's files count, too.
    """
    for _ in range(MOST_MERGES + 1):
        try:
            return _apply(attempt)
        except ConversationMoved as moved:
            _note_merge(attempt, moved)
    raise UnsafeRedirect(f"the conversation was redirected {MOST_MERGES + 1} times; it was not followed further")


def _apply(attempt: Attempt) -> None:
    facts, decision = attempt.in_conversation(lambda conn: _decide(conn, attempt))
    if isinstance(decision, Proceed) and decision.look_first:
        if settled := after_looking(facts, _look(attempt, facts)):
            _settle(attempt, settled)
            return
        facts, decision = attempt.in_conversation(lambda conn: _decide_after_looking(conn, attempt))
    match decision:
        case Settle():
            _settle(attempt, decision)
        case Proceed():
            _act(attempt, facts)


def _decide(conn: Connection, attempt: Attempt) -> Decided:
    """Decide; in the same transaction wait, or write the intent where nothing needs to be looked at first."""
    facts = _facts(conn, attempt.task.event_id)
    decision = before(facts)
    if isinstance(decision, Proceed) and not decision.look_first:
        actions.intend(conn, facts.event_id)
    _wait_if_so(conn, attempt, decision)
    return facts, decision


def _decide_after_looking(conn: Connection, attempt: Attempt) -> Decided:
    """Decide as if nothing had been tried, since nothing happened: files or messages may have come meanwhile."""
    facts = replace(_facts(conn, attempt.task.event_id), state="planned", intent_at=None, age_seconds=0.0)
    decision = before(facts)
    if isinstance(decision, Proceed):
        actions.intend(conn, facts.event_id)
    else:
        actions.unintend(conn, facts.event_id)
    _wait_if_so(conn, attempt, decision)
    return facts, decision


def _wait_if_so(conn: Connection, attempt: Attempt, decision: Settle | Wait | Proceed) -> None:
    if isinstance(decision, Wait):
        actions.explain(conn, attempt.task.event_id, decision.reason)
        attempt.wait(conn, decision.seconds, why=decision.reason)


def _facts(conn: Connection, event_id: int) -> ActionFacts:
    action = actions.get(conn, event_id)
    rivals = actions.rivals(conn, action, changes=CHANGES, api_sources=API_SOURCES)
    return ActionFacts(
        event_id=action.event_id,
        conversation_id=action.survivor,
        kind=action.kind,
        wait_for=action.wait_for,
        state=action.state,
        emitted_at=action.emitted_at,
        intent_at=action.intent_at,
        age_seconds=action.age_seconds,
        dry_run=action.dry_run,
        unstored=settling.unstored(conn, action.tenant_id, action.conversation_id),
        change=rivals.change,
        equal_newer=rivals.equal_newer,
        newer_message=rivals.newer_message,
        earlier_open=rivals.earlier_open,
        earlier_due_seconds=rivals.earlier_due_seconds,
    )


def _act(attempt: Attempt, facts: ActionFacts) -> None:
    _write(attempt, facts)
    failpoints.reach("patched_before_confirm")
    attempt.finish("done", lambda conn: _confirm(conn, attempt, facts))


def _look(attempt: Attempt, facts: ActionFacts) -> Observation:
    """Read the conversation, and its events where its status alone does not tell."""
    front = attempt.front()
    found = front.conversation(facts.conversation_id)
    if found.id != facts.conversation_id:
        raise ConversationMoved("merged, as reading it showed", asked=facts.conversation_id, survivor=found.id)
    wanted = STATUS.get(facts.kind)
    if wanted is None or (found.status == wanted):
        return Observation(status=found.status, tag_ids=found.tag_ids, events=())
    since = facts.intent_at or facts.emitted_at
    events = front.conversation_events(found.id, since=since - CLOCK_SLACK)
    return Observation(
        status=found.status,
        tag_ids=found.tag_ids,
        events=tuple(
            Seen(front_id=event.id, type=event.type, source=event.source, emitted_at=event.emitted_at or since)
            for event in events
        ),
    )


def _write(attempt: Attempt, facts: ActionFacts) -> None:
    """Send the change. When it certainly did not happen, the intent is taken back: nothing is left unclear."""
    try:
        front = attempt.front()
        with front.until(attempt.last_moment_to_write()):
            failpoints.reach("intent_before_patch")
            if status := STATUS.get(facts.kind):
                front.set_status(facts.conversation_id, status)
                return
            front.add_tag(facts.conversation_id, facts.kind.partition(":")[2])
    except (NotYet, Parking, PermanentError, FrontUnavailable, UnreadableSecret):
        attempt.settle(lambda conn: actions.unintend(conn, facts.event_id))
        raise


def _note_merge(attempt: Attempt, moved: ConversationMoved) -> None:
    attempt.transaction(lambda conn: merging.note(conn, attempt.task.tenant_id, moved.asked, moved.survivor))


def _confirm(conn: Connection, attempt: Attempt, facts: ActionFacts) -> None:
    _, recorded_as = attempt.conversation
    reason = "applied"
    if facts.conversation_id != recorded_as:
        reason = f"applied to {facts.conversation_id}, which the conversation was merged into"
    actions.settle(conn, facts.event_id, "confirmed", reason)


def _settle(attempt: Attempt, settled: Settle) -> None:
    """End without a write. The task's end is the action's, but for a change that was found to be made already."""
    event_id = attempt.task.event_id
    state = "done" if settled.state == "confirmed" else settled.state
    attempt.finish(state, lambda conn: actions.settle(conn, event_id, settled.state, settled.reason))
