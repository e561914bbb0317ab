"""The actions that a policy may choose, and the facts by which one is applied, held back or undone. Pure.

Some facts come from our own rows. The others are an `Observation`: the conversation as Front shows it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.errors import InvalidPolicy

_TAG = re.compile(r"tag:tag_[A-Za-z0-9]{1,64}")
_INBOX = re.compile(r"inb_[A-Za-z0-9]{1,64}")


def validated_action(action: str) -> str:
    """Return the action. Raises InvalidPolicy, which lists the actions that can be chosen."""
    if action == "mark_read":
        raise InvalidPolicy(
            "mark_read: Front's API cannot set read or unread; choose none, archive, trash or tag:TAG_ID"
        )
    if action not in {"none", "archive", "trash"} and not _TAG.fullmatch(action):
        raise InvalidPolicy(
            f"{action[:40]!r} is no action; choose none, archive, trash or tag:TAG_ID (as in tag:tag_3vq81c)"
        )
    return action


def validate_wait_for(action: str, wait_for: str) -> None:
    """Raise InvalidPolicy when trash would not wait for every file: a file must be stored before trash destroys it."""
    if action == "trash" and wait_for == "settled":
        raise InvalidPolicy("trash always waits until every file is stored; use --wait-for stored")


def validated_inboxes(inbox_ids: Sequence[str]) -> list[str]:
    """Return the inboxes that a policy is limited to, each once. Raises InvalidPolicy for none, and for a wrong id."""
    for inbox_id in inbox_ids:
        if not _INBOX.fullmatch(inbox_id):
            raise InvalidPolicy(f"{inbox_id[:40]!r} is no inbox; Front's look like inb_3vq81c")
    if not inbox_ids:
        raise InvalidPolicy("no inbox is named; name one, or take all of them")
    return list(dict.fromkeys(inbox_ids))


@dataclass(frozen=True, kw_only=True)
class UnstoredFiles:
    """How many files of a conversation are not stored, by reason. A message still to be read counts as `waiting`."""

    waiting: int = 0
    failed: int = 0
    discarded: int = 0


@dataclass(frozen=True, kw_only=True)
class HostNotices:
    """How many endpoints of the host application took the event's message, are still to be told, or could not be.

    A notification that somebody discarded counts as taken.
    """

    notified: int = 0
    to_notify: int = 0
    not_notified: int = 0


def waits_for_host(kind: str, act_after: str) -> bool:
    """Whether an action waits until the host application has taken the message: one that takes it away from sight."""
    return act_after == "notified" and kind in {"archive", "trash"}


def wait_reason(kind: str, wait_for: str, unstored: UnstoredFiles, host: HostNotices | None = None) -> str | None:
    """Return why an action must wait for files or for the host application, or None.

    Trash always waits until every file is stored. `host` is None for an action that does not wait for the host.
    """
    if unstored.waiting:
        return f"waits for {unstored.waiting} file(s) of the conversation to be stored"
    if unstored.failed and (kind == "trash" or wait_for == "stored"):
        return f"{unstored.failed} file(s) of the conversation could not be stored; retry or discard their tasks"
    return _reason_to_wait_for_host(host) if host else None


def _reason_to_wait_for_host(host: HostNotices) -> str | None:
    if host.to_notify:
        return f"waits_for_host: {host.to_notify} endpoint(s) of the host application have not taken the message yet"
    if host.not_notified:
        return f"waits_for_host: {host.not_notified} notification(s) failed; retry or discard their tasks"
    if not host.notified:
        return "waits_for_host: the message was sent to no endpoint of the host application so far"
    return None


@dataclass(frozen=True, kw_only=True)
class ObservedEvent:
    """One event of the conversation as Front lists it."""

    front_id: str
    type: str
    source: str | None
    emitted_at: datetime
    target_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Observation:
    """The conversation as Front shows it. `events` are those since `events_since`; None: they were not read."""

    status: str
    tag_ids: frozenset[str]
    events: tuple[ObservedEvent, ...] = ()
    events_since: datetime | None = None

    def has_events_since(self, needed: datetime | None) -> bool:
        """Whether `events` are all that happened since `needed`. None needs no events."""
        return needed is None or (self.events_since is not None and self.events_since <= needed)


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A conversation in Front at `taken_at`, with the events that we had recorded before Front was asked.

    A new snapshot has no `observation` yet; a kept one has that of an earlier attempt. `status_events` and `tag_events`
    are fingerprints of the recorded events that make the observed status and tags old. `others_open`: another action of
    the conversation is open, and may use the same snapshot.
    """

    conversation_id: str
    taken_at: datetime
    status_events: str
    tag_events: str
    others_open: bool
    observation: Observation | None


@dataclass(frozen=True, kw_only=True)
class UndoFacts:
    """The facts about one undo, from our rows.

    An undo takes back the latest of the conversation's actions that we sent and that somebody wants undone. Its `kind`
    is that action's; `emitted_at` is the time of that action's event, and `sent_at` the time at which we sent it (None:
    there is no such action). `intent_at`: the time at which the undo itself was about to be sent. `conversation_id` is
    the conversation's id at Front now, which a merge changes. `conversation_read`: Front was asked just now.

    The other fields hold Front's event id, or None. `unsettled`: an action to be undone whose own outcome is unknown.
    `newer_undo`: a newer event with an undo that is still to run. `sent_again`: an event whose action we sent later,
    and which nobody wants undone. `change`: an event by which somebody else changed the status later.
    """

    event_id: int
    conversation_id: str
    kind: str
    emitted_at: datetime
    sent_at: datetime | None
    intent_at: datetime | None
    unsettled: str | None = None
    newer_undo: str | None = None
    sent_again: str | None = None
    change: str | None = None
    conversation_read: bool = False


@dataclass(frozen=True, kw_only=True)
class ActionFacts:
    """The facts about one action, and about its conversation since the action's event, from our rows.

    `conversation_id` is the conversation's id at Front now, which a merge changes. `age_seconds`: the time since Front
    emitted the event, by the database's clock. `waiting`, `failed` and `discarded` count the conversation's files that
    are not stored. `notified`, `to_notify` and `not_notified` count its endpoints as in HostNotices; None: they do not
    matter.

    `change`, `equal_newer`, `newer_message` and `earlier_open` may overrule the action or go before it. Each holds
    Front's event id, or None. `earlier_due_seconds`: the time until the earlier action is tried again.
    """

    event_id: int
    conversation_id: str
    kind: str
    wait_for: str
    state: str
    emitted_at: datetime
    intent_at: datetime | None
    age_seconds: float
    waiting: int = 0
    failed: int = 0
    discarded: int = 0
    dry_run: bool = False
    undo_asked: bool = False
    change: str | None = None
    equal_newer: str | None = None
    newer_message: str | None = None
    earlier_open: str | None = None
    earlier_due_seconds: float = 0.0
    act_after: str = "files"
    notified: int | None = None
    to_notify: int | None = None
    not_notified: int | None = None

    @property
    def host(self) -> HostNotices | None:
        """Return what the host application was told, None for an action that does not wait for it."""
        if not waits_for_host(self.kind, self.act_after):
            return None
        return HostNotices(
            notified=self.notified or 0, to_notify=self.to_notify or 0, not_notified=self.not_notified or 0
        )

    @property
    def unstored(self) -> UnstoredFiles:
        """Return the counts of the files that are not stored."""
        return UnstoredFiles(waiting=self.waiting, failed=self.failed, discarded=self.discarded)
