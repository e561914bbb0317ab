"""Decides whether what an action did may be undone, and what an unclear undo came to: pure.

Only what we did ourselves is undone, and only while the conversation is as we left it: whoever else archived, trashed,
reopened or tagged it since has decided, and keeps that.
"""

from __future__ import annotations

from collections.abc import Iterable

from shared.actions import UndoFacts
from workers.changes.precedence import (
    API_CHANGES,
    API_SOURCES,
    CLOCK_SLACK,
    STATUS,
    Observation,
    Proceed,
    Seen,
    Settle,
    Wait,
)

#: An action that nobody knows the end of yet is looked at again.
UNSETTLED_SECONDS = 15.0
_TAGGING = frozenset({"tag", "untag"})
_OPENING = frozenset({"reopen", "restore"})
#: What Front calls our own change.
_DONE = {"archive": "archive", "trash": "trash"}


def before_undoing(facts: UndoFacts) -> Settle | Wait | Proceed:
    """Decide from our own rows; nothing is undone without a look at Front."""
    if facts.newer_undo:
        return Settle(state="superseded", reason=f"coalesced: the undo of {facts.newer_undo} does the same")
    if facts.intent_at and not facts.conversation_read:
        return Proceed(look_first=True)
    if facts.unsettled:
        return Wait(reason=f"the action of {facts.unsettled} is not settled yet", seconds=UNSETTLED_SECONDS)
    return _overruled(facts) or Proceed(look_first=not facts.conversation_read)


def _overruled(facts: UndoFacts) -> Settle | None:
    if facts.sent_at is None:
        return Settle(state="skipped", reason="not_ours: nothing was sent to Front")
    if facts.sent_again:
        return Settle(state="skipped", reason=f"applied_again: {facts.sent_again} did it again")
    return _somebody(facts.change) if facts.change else None


def after_looking_to_undo(facts: UndoFacts, front: Observation) -> Settle | None:
    """Decide from what Front shows; None: it is as we left it, so undo."""
    if facts.intent_at and (own := _own_undo(facts, front)):
        return Settle(state="confirmed", reason=f"seen: {own.front_id} is our change")
    return _status(facts, front) if facts.kind in STATUS else _tag(facts, front)


def _own_undo(facts: UndoFacts, front: Observation) -> Seen | None:
    types = _OPENING if facts.kind in STATUS else frozenset({"untag"})
    since = facts.intent_at - CLOCK_SLACK if facts.intent_at else facts.emitted_at
    ours = (each for each in _about(facts, front.events, types) if each.source in API_SOURCES)
    return next((each for each in ours if each.emitted_at >= since), None)


def _status(facts: UndoFacts, front: Observation) -> Settle | None:
    if front.status != STATUS[facts.kind]:
        return _somebody(f"the conversation is {front.status}")
    return _last_word(facts, front, API_CHANGES, ours=_DONE[facts.kind])


def _tag(facts: UndoFacts, front: Observation) -> Settle | None:
    if facts.kind.partition(":")[2] not in front.tag_ids:
        return _somebody("the tag is not there any more")
    return _last_word(facts, front, _TAGGING, ours="tag")


def _last_word(facts: UndoFacts, front: Observation, types: frozenset[str], *, ours: str) -> Settle | None:
    """Whose the newest change is: None where it is ours."""
    seen = sorted(
        _about(facts, front.events, types), key=lambda each: (each.emitted_at, each.source not in API_SOURCES)
    )
    if not seen:
        return Settle(state="skipped", reason="not_ours: Front shows no change of ours; it was so before")
    if seen[-1].source in API_SOURCES and seen[-1].type == ours:
        return None
    return _somebody(f"{seen[-1].type} {seen[-1].front_id}")


def _about(facts: UndoFacts, events: Iterable[Seen], types: frozenset[str]) -> list[Seen]:
    """The events of these types since the action's; of a tag's, those of that tag."""
    tag = facts.kind.partition(":")[2]
    return [
        each
        for each in events
        if each.type in types and each.emitted_at >= facts.emitted_at - CLOCK_SLACK and tag in {"", each.target_id}
    ]


def _somebody(what: str) -> Settle:
    return Settle(state="skipped", reason=f"changed_by_somebody: {what}")
