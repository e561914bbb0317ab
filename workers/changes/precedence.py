"""Decides whether an action may act now, and how an attempt without a clear answer ended: pure.

Before an action acts, its plan is overruled by somebody else's change, a newer message or an equal newer action. A file
that is not stored yet makes it wait. After an unclear answer, the conversation in Front overrules our own rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from shared.actions import ActionFacts, Observation, ObservedEvent, wait_reason

#: The status of a conversation after the change, by kind of action. Front lists the change as an event of that kind.
STATUS_AFTER: Mapping[str, Literal["archived", "deleted"]] = {"archive": "archived", "trash": "deleted"}
#: The sources of changes made through the API, like ours. Other sources are teammate, rule, gmail, …
API_SOURCES = frozenset({"api", "oauth_client"})
#: Webhooks that report somebody's own decision about a conversation.
CHANGE_WEBHOOKS = ("conversation_archived", "conversation_deleted", "conversation_reopened", "conversation_restored")
#: The same changes, as the conversation's list of events names them.
STATUS_CHANGES = frozenset({"archive", "trash", "reopen", "restore"})
#: Webhooks that report a change of a conversation's tags.
TAG_WEBHOOKS = ("tag_added", "tag_removed")
#: A conversation that was read this recently is not read again, unless something of it was recorded since. Its webhook
#: may be lost, and the next repair comes after 15 minutes. Trash and undo cannot be taken back as easily.
SNAPSHOT_SECONDS = 600.0
SHORT_SNAPSHOT_SECONDS = 60.0
#: An action whose event is older than this reads the conversation before it acts.
FRESH_SECONDS = 60
#: An action waits at most this long for an earlier one. Then it decides again: a person may have settled that one.
MAX_WAIT_SECONDS = 60.0
#: Front's clock and the database's may differ by this much, and a change of ours is still found.
CLOCK_SKEW = timedelta(seconds=5)


@dataclass(frozen=True, kw_only=True)
class Settle:
    """End the action without another write to Front."""

    state: Literal["confirmed", "superseded", "skipped"]
    reason: str


@dataclass(frozen=True, kw_only=True)
class Wait:
    """Decide again in `seconds`; with None, when a file is settled or the host application took the message."""

    reason: str
    seconds: float | None


@dataclass(frozen=True, kw_only=True)
class Proceed:
    """Act; with `read_first`, read the conversation in Front before."""

    read_first: bool


Precedence = Settle | Wait | Proceed


def decide_from_rows(facts: ActionFacts) -> Precedence:
    """Decide from our own rows whether the action may act."""
    if facts.state == "intent":
        return Proceed(read_first=True)
    if overruled := _overruled(facts):
        return overruled
    if reason := wait_reason(facts.kind, facts.wait_for, facts.unstored, facts.host):
        return Wait(reason=reason, seconds=None)
    if facts.kind == "trash" and facts.unstored.discarded:
        return Settle(state="skipped", reason="file_discarded: trash never destroys a file that was not stored")
    if facts.earlier_open:
        seconds = min(max(facts.earlier_due_seconds, 1.0), MAX_WAIT_SECONDS)
        return Wait(reason=f"{facts.earlier_open} of the same conversation comes first", seconds=seconds)
    return _proceed_unless_dry_run(facts)


def decide_from_front(facts: ActionFacts, front: Observation) -> Settle | None:
    """Decide from the conversation in Front; None when the change has not happened and nothing overrules it."""
    tag_id = tag_of(facts.kind)
    if tag_id and tag_id in front.tag_ids:
        return Settle(state="confirmed", reason="seen: the tag is there")
    if facts.state == "intent" and (own := _own_change(facts, front)):
        return Settle(state="confirmed", reason=f"seen: {own.front_id} is our change")
    if tag_id:
        return None
    if front.status == STATUS_AFTER[facts.kind]:
        return Settle(state="confirmed", reason=f"seen: the conversation is {front.status}")
    if front.status == "deleted":
        return Settle(state="superseded", reason="changed_by_somebody: the conversation is in the trash")
    return _overruled_in_front(facts, front)


def events_needed_since(facts: ActionFacts, front: Observation) -> datetime | None:
    """Return since when the conversation's events matter; None where its status and tags tell enough.

    A tag that is not there may have been ours, if an attempt may have set it: somebody removed it then.
    """
    if tag_id := tag_of(facts.kind):
        return facts.intent_at if facts.state == "intent" and tag_id not in front.tag_ids else None
    return None if front.status == STATUS_AFTER[facts.kind] else facts.intent_at or facts.emitted_at


def tag_of(kind: str) -> str:
    """Return the tag id of an action that tags (`tag:tag_3vq81c`), and an empty string for others."""
    return kind.partition(":")[2]


def _overruled(facts: ActionFacts) -> Settle | None:
    if facts.undo_asked:
        return Settle(state="superseded", reason="undone: somebody asked for that before it was applied")
    if facts.equal_newer:
        return Settle(state="superseded", reason=f"coalesced: {facts.equal_newer} does the same")
    if facts.kind not in STATUS_AFTER:
        return None  # a tag takes nothing away from anybody
    if facts.change:
        return Settle(state="superseded", reason=f"changed_by_somebody: {facts.change}")
    if facts.newer_message:
        return Settle(state="superseded", reason=f"newer_message: {facts.newer_message}")
    return None


def _proceed_unless_dry_run(facts: ActionFacts) -> Settle | Proceed:
    """Let the action act. A dry run ends right before the write."""
    read_first = facts.age_seconds > FRESH_SECONDS
    if facts.dry_run and not read_first:
        return Settle(state="skipped", reason=f"dry_run: would have {_past_tense(facts.kind)} {facts.conversation_id}")
    return Proceed(read_first=read_first)


def _past_tense(kind: str) -> str:
    return {"archive": "archived", "trash": "trashed"}.get(kind) or f"added {tag_of(kind)} to"


def _own_change(facts: ActionFacts, front: Observation) -> ObservedEvent | None:
    since = facts.emitted_at  # an equal change before the event belongs to another action
    if facts.intent_at:
        since = max(since, facts.intent_at - CLOCK_SKEW)
    ours = (
        event
        for event in front.events
        if _is_change_of(facts.kind, event) and event.source in API_SOURCES and event.emitted_at >= since
    )
    return next(ours, None)


def _is_change_of(kind: str, event: ObservedEvent) -> bool:
    if tag_id := tag_of(kind):
        return event.type == "tag" and event.target_id == tag_id
    return event.type == kind


def _overruled_in_front(facts: ActionFacts, front: Observation) -> Settle | None:
    for event in front.events:
        if event.emitted_at <= facts.emitted_at:  # both by Front's clock; the intent's time is by the database's
            continue
        if event.type in STATUS_CHANGES and event.source not in API_SOURCES:
            return Settle(state="superseded", reason=f"changed_by_somebody: {event.type} {event.front_id}")
        if event.type == "inbound":
            return Settle(state="superseded", reason=f"newer_message: {event.front_id}")
    return None
