"""Decides whether an action may act now, and what an unclear one came to: pure.

Before acting, a change that somebody else made, a newer message, an equal newer action or a file that is not stored
yet wins over the plan. After an unclear answer, what Front shows wins over what we remember.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from shared.actions import ActionFacts, wait_reason

#: Changes made through the API look like ours; everybody else's carry another source (teammate, rule, gmail, …).
API_SOURCES = frozenset({"api", "oauth_client"})
#: Application events by which somebody takes the decision about a conversation away from us.
CHANGES = ("conversation_archived", "conversation_deleted", "conversation_reopened", "conversation_restored")
API_CHANGES = frozenset({"archive", "trash", "reopen", "restore"})
FRESH_SECONDS = 60
#: How long an action waits for an earlier one before it looks again: somebody may have settled that by hand.
LONGEST_WAIT_SECONDS = 60.0
#: Front's clock and the database's may differ by this much without an own change being overlooked.
CLOCK_SLACK = timedelta(seconds=5)
STATUS: Mapping[str, Literal["archived", "deleted"]] = {"archive": "archived", "trash": "deleted"}
_OWN_EVENT = {"archive": "archive", "trash": "trash"}


@dataclass(frozen=True, kw_only=True)
class Settle:
    """The action ends here without another write to Front."""

    state: Literal["confirmed", "superseded", "skipped"]
    reason: str


@dataclass(frozen=True, kw_only=True)
class Wait:
    """Not yet. `seconds` None: until a file is settled."""

    reason: str
    seconds: float | None


@dataclass(frozen=True, kw_only=True)
class Proceed:
    """Act; `look_first`: read the conversation before."""

    look_first: bool


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One event of the conversation as Front lists it."""

    front_id: str
    type: str
    source: str | None
    emitted_at: datetime
    target_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What Front shows of the conversation now; `events` since the action's event, or since its intent."""

    status: str
    tag_ids: frozenset[str]
    events: tuple[Seen, ...]


def before(facts: ActionFacts) -> Settle | Wait | Proceed:
    """Decide from our own rows whether the action may act."""
    if facts.state == "intent":
        return Proceed(look_first=True)
    if overruled := _overruled(facts):
        return overruled
    if reason := wait_reason(facts.kind, facts.wait_for, facts.unstored):
        return Wait(reason=reason, seconds=None)
    if facts.kind == "trash" and facts.unstored.discarded:
        return Settle(state="skipped", reason="file_discarded: trash never destroys a file that was not stored")
    if facts.earlier_open:
        seconds = min(max(facts.earlier_due_seconds, 1.0), LONGEST_WAIT_SECONDS)
        return Wait(reason=f"{facts.earlier_open} of the same conversation comes first", seconds=seconds)
    return _free(facts)


def _free(facts: ActionFacts) -> Settle | Proceed:
    """Nothing of ours stands against it; a dry run ends where it would be written."""
    look_first = facts.age_seconds > FRESH_SECONDS
    if facts.dry_run and not look_first:
        return Settle(state="skipped", reason=f"dry_run: would have {_would_be(facts.kind)} {facts.conversation_id}")
    return Proceed(look_first=look_first)


def _would_be(kind: str) -> str:
    return {"archive": "archived", "trash": "trashed"}.get(kind) or f"added {kind.partition(':')[2]} to"


def _overruled(facts: ActionFacts) -> Settle | None:
    if facts.undo_asked:
        return Settle(state="superseded", reason="undone: somebody asked for that before it was applied")
    if facts.equal_newer:
        return Settle(state="superseded", reason=f"coalesced: {facts.equal_newer} does the same")
    if facts.kind not in STATUS:
        return None  # a tag takes nothing away from anybody
    if facts.change:
        return Settle(state="superseded", reason=f"changed_by_somebody: {facts.change}")
    if facts.newer_message:
        return Settle(state="superseded", reason=f"newer_message: {facts.newer_message}")
    return None


def after_looking(facts: ActionFacts, front: Observation) -> Settle | None:
    """Decide from what Front shows; None: the change has not happened and nobody objects, so write."""
    if facts.kind not in STATUS:
        tagged = facts.kind.partition(":")[2] in front.tag_ids
        return Settle(state="confirmed", reason="seen: the tag is there") if tagged else None
    if facts.state == "intent" and (own := _own_change(facts, front)):
        return Settle(state="confirmed", reason=f"seen: {own.front_id} is our change")
    if front.status == STATUS[facts.kind]:
        return Settle(state="confirmed", reason=f"seen: the conversation is {front.status}")
    if front.status == "deleted":
        return Settle(state="superseded", reason="changed_by_somebody: the conversation is in the trash")
    return _objection(facts, front)


def _own_change(facts: ActionFacts, front: Observation) -> Seen | None:
    since = facts.emitted_at  # an equal change of before the event was another action's
    if facts.intent_at:
        since = max(since, facts.intent_at - CLOCK_SLACK)
    wanted = _OWN_EVENT[facts.kind]
    ours = (e for e in front.events if e.type == wanted and e.source in API_SOURCES and e.emitted_at >= since)
    return next(ours, None)


def _objection(facts: ActionFacts, front: Observation) -> Settle | None:
    for event in front.events:
        if event.emitted_at <= facts.emitted_at:  # both by Front's clock, which the time of the intent is not
            continue
        if event.type in API_CHANGES and event.source not in API_SOURCES:
            return Settle(state="superseded", reason=f"changed_by_somebody: {event.type} {event.front_id}")
        if event.type == "inbound":
            return Settle(state="superseded", reason=f"newer_message: {event.front_id}")
    return None
