"""Why nothing, or nothing more, was done for an event: pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from console.failure_texts import text_of
from console.times import format_time
from shared.models import QUOTAS

if TYPE_CHECKING:
    from shared.db.reading.events import ActionView, Blocker, EventDetails

PARKED = {
    "unknown_company": "No tenant has this company. It is worked on once a tenant is connected to it.",
    "paused": "The tenant is paused. It is worked on once somebody resumes the tenant.",
    "needs_reconnect": "The tenant has no connection to Front that works. It is worked on once it is connected.",
    "missing_scope": "The tenant's token lacks a permission. It is worked on once the scope was added in Front.",
    "erasing": "The tenant's data is being erased.",
}
#: By the first word of a skipped action's reason.
SKIPPED = {
    "nobody_matched": "No recipient is a user of the tenant, and the policy acts only when one is.",
    "no_action": "The policy asks for no action.",
    "other_inbox": "The policy acts in other inboxes only.",
    "unknown_age": "The event names no time that can be read, and Mailroom acts on nothing whose age it does not know.",
    "too_old": "The event was too old: it is recorded, and never acted on.",
    "no_conversation": "The event names no conversation that could be changed.",
}
#: The states of an action that is still to be sent, or to be looked up at Front.
WAITING = frozenset({"planned", "intent"})
#: The work of a task without a file, in words.
WORK = {"record": "the event to be recorded again", "fetch_message": "the message to be fetched"}
#: Only messages that come in have an action.
INBOUND = "inbound_received"


def why_nothing(event: EventDetails) -> list[str]:
    """Return the reasons, in whole sentences; none where everything was done that the policy asks for."""
    return [*_why_no_work(event), *(_why_no_action(event.action) if event.action else ()), *_failures(event)]


def what_it_waits_for(event: EventDetails) -> list[str]:
    """Return what the event's action waits for, in whole sentences; none where it waits for nothing."""
    action, parked = event.action, event.header.state == "parked"
    if action is None or action.state not in WAITING:
        return []
    waits = [PARKED.get(event.header.cause or "", f"It waits: {event.header.cause}.")] if parked else []
    if event.header.files_held and any(each.filename and each.state != "failed" for each in event.blockers):
        waits.append(f"Files wait, because the tenant's quota of {QUOTAS[event.header.files_held]} is used up.")
    waits += [_blocker(each) for each in event.blockers if _blocks(each, action)]
    due_at = next((task.due_at for task in event.tasks if task.kind == "apply_action" and task.state == "ready"), None)
    if due_at and not waits:
        waits.append(f"Its task is due at {format_time(due_at)} UTC.")
    return waits


def _blocks(blocker: Blocker, action: ActionView) -> bool:
    return blocker.state != "failed" or action.kind == "trash" or action.wait_for == "stored"


def _blocker(blocker: Blocker) -> str:
    what = f"the file {blocker.filename}" if blocker.filename else WORK[blocker.kind]
    if blocker.state == "failed":
        return f"It waits for {what}: task {blocker.task_id} failed; retry or discard it."
    return f"It waits for {what}: task {blocker.task_id} is {blocker.state}."


def _why_no_work(event: EventDetails) -> Iterator[str]:
    header = event.header
    if header.cause == "address_erased":
        yield "Its content was erased with an e-mail address before a tenant had its company: nothing is done for it."
    elif header.state == "ignored":
        yield f"Front's list of events has no type {header.type!r}, so there is nothing to do for it."
    elif header.state == "parked":
        yield PARKED.get(header.cause or "", f"It waits: {header.cause}.")
    elif header.state == "done" and not event.tasks and event.action is None:
        yield _recorded_only(header.type)


def _recorded_only(event_type: str) -> str:
    if event_type == INBOUND:
        return "The message has no file, and no action was planned for it."
    return "Events of this type are recorded, so that a change by a person is known; nothing is done for them."


def _why_no_action(action: ActionView) -> Iterator[str]:
    cause, _, detail = action.reason.partition(":")
    if action.state == "skipped":
        yield SKIPPED.get(cause, f"No action was taken: {action.reason}.") + _more(cause, detail)
    elif action.state == "superseded":
        yield f"Something newer overruled the action: {action.reason}."
    elif action.state == "discarded":
        yield f"The action was {action.reason}."
    if action.dry_run:
        yield "The policy runs dry: the action was decided, and Front was left as it is."


def _more(cause: str, detail: str) -> str:
    return f" ({detail.strip()})" if detail and cause in {"other_inbox", "too_old", "no_action"} else ""


def _failures(event: EventDetails) -> Iterator[str]:
    for code in sorted({task.code or "" for task in event.tasks if task.state == "failed"}):
        yield f"{text_of(code).meaning} {text_of(code).what_to_do}"
