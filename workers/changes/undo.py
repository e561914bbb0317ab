"""Decides whether an action may be undone, and how an undo without a clear answer ended: pure.

Only our own change is undone, and only while the conversation is as we left it. A person or rule that has archived,
trashed, reopened or tagged it since has decided, and that decision stays.
"""

from __future__ import annotations

from collections.abc import Iterable

from shared.actions import Observation, ObservedEvent, UndoFacts
from workers.changes.precedence import (
    API_SOURCES,
    CLOCK_SKEW,
    STATUS_AFTER,
    STATUS_CHANGES,
    Precedence,
    Proceed,
    Settle,
    Wait,
    tag_of,
)

#: The pause before the next decision while another action's end is still unclear.
UNSETTLED_SECONDS = 15.0
_TAG_CHANGES = frozenset({"tag", "untag"})
_REOPENINGS = frozenset({"reopen", "restore"})


def decide_undo_from_rows(facts: UndoFacts) -> Precedence:
    """Decide from our own rows whether to undo; nothing is undone before the conversation is read in Front."""
    if facts.newer_undo:
        return Settle(state="superseded", reason=f"coalesced: the undo of {facts.newer_undo} does the same")
    if facts.intent_at and not facts.conversation_read:
        return Proceed(read_first=True)
    if facts.unsettled:
        return Wait(reason=f"the action of {facts.unsettled} is not settled yet", seconds=UNSETTLED_SECONDS)
    return _overruled(facts) or Proceed(read_first=not facts.conversation_read)


def decide_undo_from_front(facts: UndoFacts, front: Observation) -> Settle | None:
    """Decide from the conversation in Front; None when it is as we left it, so that the undo is written."""
    if facts.intent_at and (own := _own_undo(facts, front)):
        return Settle(state="confirmed", reason=f"seen: {own.front_id} is our change")
    return _decide_status(facts, front) if facts.kind in STATUS_AFTER else _decide_tag(facts, front)


def _overruled(facts: UndoFacts) -> Settle | None:
    if facts.sent_at is None:
        return Settle(state="skipped", reason="not_ours: nothing was sent to Front")
    if facts.sent_again:
        return Settle(state="skipped", reason=f"applied_again: {facts.sent_again} did it again")
    return _changed_by_somebody(facts.change) if facts.change else None


def _own_undo(facts: UndoFacts, front: Observation) -> ObservedEvent | None:
    types = _REOPENINGS if facts.kind in STATUS_AFTER else frozenset({"untag"})
    since = facts.intent_at - CLOCK_SKEW if facts.intent_at else facts.emitted_at
    ours = (event for event in _relevant(facts, front.events, types) if event.source in API_SOURCES)
    return next((event for event in ours if event.emitted_at >= since), None)


def _decide_status(facts: UndoFacts, front: Observation) -> Settle | None:
    if front.status != STATUS_AFTER[facts.kind]:
        return _changed_by_somebody(f"the conversation is {front.status}")
    return _decide_from_latest_change(facts, front, STATUS_CHANGES, own_type=facts.kind)


def _decide_tag(facts: UndoFacts, front: Observation) -> Settle | None:
    if tag_of(facts.kind) not in front.tag_ids:
        return _changed_by_somebody("the tag is not there any more")
    return _decide_from_latest_change(facts, front, _TAG_CHANGES, own_type="tag")


def _decide_from_latest_change(
    facts: UndoFacts, front: Observation, types: frozenset[str], *, own_type: str
) -> Settle | None:
    """Return None if the latest change is ours. Of changes at the same moment, somebody else's counts as the latest."""
    changes = _relevant(facts, front.events, types)
    if not changes:
        return Settle(state="skipped", reason="not_ours: Front shows no change of ours; it was so before")
    latest = sorted(changes, key=lambda event: (event.emitted_at, event.source not in API_SOURCES))[-1]
    if latest.source in API_SOURCES and latest.type == own_type:
        return None
    return _changed_by_somebody(f"{latest.type} {latest.front_id}")


def _relevant(facts: UndoFacts, events: Iterable[ObservedEvent], types: frozenset[str]) -> list[ObservedEvent]:
    """Return the events of these types since the action's event; for a tag, only those about this tag."""
    tag_id = tag_of(facts.kind)
    return [
        event
        for event in events
        if event.type in types and event.emitted_at >= facts.emitted_at - CLOCK_SKEW and tag_id in {"", event.target_id}
    ]


def _changed_by_somebody(what: str) -> Settle:
    return Settle(state="skipped", reason=f"changed_by_somebody: {what}")
