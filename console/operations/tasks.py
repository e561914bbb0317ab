"""Change one task that failed or waits, or the action that it applies, and decide about a group of failures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

from console.operations.audited import Change, Run, carry_out
from shared.actions import validated_action
from shared.db.reading import groups, tasks
from shared.db.tasks import failure_groups, manual_changes, reruns, settling
from shared.errors import MailroomError
from shared.text import clean

if TYPE_CHECKING:
    from console.access.actor import Actor
    from shared.db.core.pool import Connection
    from shared.db.reading.events import ActionView
    from shared.db.reading.tasks import TaskDetails, TaskSummary
    from shared.db.tasks.failure_groups import Decision

LONGEST_REASON = 1_000  # characters
RETRYABLE = frozenset({"failed"})
DISCARDABLE = frozenset({"failed", "ready", "queued", "parked"})
UNREADABLE = "record"  # the kind of a task whose body cannot be read, if it has no tenant
#: The states of a task whose action can be changed.
EDITABLE = DISCARDABLE


class UnknownTask(MailroomError):
    """There is no such task."""

    code = "unknown_task"


class UnknownGroup(MailroomError):
    """There is no such group of failures."""

    code = "unknown_group"


class MovedOn(MailroomError):
    """The task is no longer as it was shown; `possible_changes` says what can be done with it now."""

    code = "moved_on"

    def __init__(self, message: str, details: TaskDetails):
        super().__init__(message)
        self.possible_changes = possible_changes(details.task, details.action)


class SameAction(MailroomError):
    """The action is of this kind already."""

    code = "same_action"


class ReasonMissing(MailroomError):
    """A discard has a reason that says something."""

    code = "reason_missing"


@dataclass(frozen=True, kw_only=True)
class ActionEdit:
    """A task as it was when its action was shown: the kind of the action, and the attempts. None: not known."""

    was: str | None = None
    attempts: int | None = None


@dataclass(frozen=True, kw_only=True)
class PossibleChange:
    """A change of a task, and what is in its way, if anything is."""

    verb: Literal["retry", "discard", "edit_action"]
    why_not: str | None

    @property
    def is_possible(self) -> bool:
        """Whether the change can be made now."""
        return self.why_not is None


def possible_changes(task: TaskSummary, action: ActionView | None = None) -> tuple[PossibleChange, ...]:
    """Say what can be done with a task: pure, and the same for pages, the API and the changes themselves.

    `action` is the action that the task applies, if it applies one: it can be changed.
    """
    changes = (
        PossibleChange(verb="retry", why_not=_why_no_retry(task)),
        PossibleChange(verb="discard", why_not=_why_no_discard(task)),
    )
    if action is None:
        return changes
    return (*changes, PossibleChange(verb="edit_action", why_not=_why_no_edit(task, action)))


def retry_task(run: Run, actor: Actor, task_id: int, *, attempts: int | None = None, accept_size: bool = False) -> None:
    """Make a failed task due again. `attempts`: how many the task had when it was shown.

    Raises NotAllowed, UnknownTask, MovedOn.
    """
    task = _task(run, actor, task_id, attempts)
    change = Change(verb="retry", target=f"task {task_id}", tenant_id=task.task.tenant_id)
    apply = partial(manual_changes.retry, task_ids=[task_id], who=actor.name, accept_size=accept_size)
    _carry_out(run, actor, change, task, apply)


def discard_task(run: Run, actor: Actor, task_id: int, *, reason: str, attempts: int | None = None) -> None:
    """Give a failed or waiting task up. Raises NotAllowed, ReasonMissing, UnknownTask, MovedOn."""
    why = require_reason(reason)
    task = _task(run, actor, task_id, attempts)
    change = Change(verb="discard", target=f"task {task_id}", tenant_id=task.task.tenant_id, detail=why)
    apply = partial(manual_changes.discard, task_ids=[task_id], who=actor.name, reason=why)
    _carry_out(run, actor, change, task, apply)


def edit_action(run: Run, actor: Actor, task_id: int, *, action: str, edit: ActionEdit | None = None) -> None:
    """Have a task apply another action, and make it due again; `none` ends it without a change of the conversation.

    `edit` is the task as it was shown. Never for an action that Front has, or of which nobody knows whether Front has
    it. Raises NotAllowed, InvalidPolicy, UnknownTask, SameAction, MovedOn.
    """
    kind = validated_action(action)
    shown = edit or ActionEdit()
    task = _task(run, actor, task_id, shown.attempts)
    change = Change(verb="edit_action", target=f"task {task_id}", tenant_id=task.task.tenant_id)
    number = task.task.event_number or 0  # a notification may be about no event, and applies no action

    def work(conn: Connection) -> None:
        if number:
            reruns.lock_event(conn, number)
        now = tasks.task_details(conn, task_id) or task
        was = _editable_kind(now, kind, shown.was)
        change.before, change.after = {"action": was, "state": now.task.state}, {"action": kind}
        if not reruns.change_action(conn, number, kind, was=was):
            raise MovedOn(f"task {task_id} has changed meanwhile", now)
        settling.update_event_state(conn, number)
        detail = f"task {task_id}: {kind} instead of {was}"
        settling.add_journal_entry(conn, number, "action_changed", who=actor.name, detail=detail)

    carry_out(run, actor, change, work, unseen=_unknown(task_id))


def effect_of_action(kind: str) -> str:
    """Say what happens to the conversation by an action of this kind: pure."""
    if kind == "none":
        return "Nothing is done to the conversation, and the task ends as skipped."
    if kind == "trash":
        return "The conversation goes to Front's trash, once every file of it is stored."
    if kind == "archive":
        return "The conversation is archived at Front."
    return f"The conversation gets the tag {kind.partition(':')[2]} at Front."


def decide_group(run: Run, actor: Actor, group_id: int, decision: Decision) -> None:
    """Acknowledge, ignore, fix or reopen a group of failures. Raises NotAllowed, UnknownGroup."""
    unknown = UnknownGroup(f"there is no group {group_id}")
    group = run(lambda conn: groups.get(conn, group_id))
    if group is None:
        raise unknown
    change = Change(
        verb="triage",
        target=f"group {group_id}",
        tenant_id=group.tenant_id,
        before={"state": group.state},
        after={"state": decision.state},
        detail=clean(decision.note.strip(), LONGEST_REASON),
    )
    decision = replace(decision, note=change.detail)
    carry_out(run, actor, change, lambda conn: failure_groups.decide(conn, group_id, decision), unseen=unknown)


def require_reason(reason: str) -> str:
    """Return the reason without blanks around it. Raises ReasonMissing."""
    if not (why := clean(reason.strip(), LONGEST_REASON)):
        raise ReasonMissing("say why: the reason stays in the event's timeline")
    return why


def _editable_kind(details: TaskDetails, kind: str, was: str | None) -> str:
    """Return the kind of the action that is to become another one. Raises MovedOn, SameAction."""
    task, action = details.task, details.action
    why_not = "it applies no action" if action is None else _why_no_edit(task, action)
    if action is None or why_not:
        raise MovedOn(f"the action of task {task.id} stays as it is: {why_not}", details)
    if was not in {None, action.kind}:
        raise MovedOn(f"the action of task {task.id} is {action.kind} now", details)
    if action.kind == kind:
        raise SameAction(f"the action of task {task.id} is {kind} already; to try it again, retry the task")
    return action.kind


def _task(run: Run, actor: Actor, task_id: int, attempts: int | None) -> TaskDetails:
    found = run(lambda conn: tasks.task_details(conn, task_id))
    if found is None:
        raise _unknown(task_id)
    if actor.sees(found.task.tenant_id) and attempts is not None and attempts != found.task.attempts:
        raise MovedOn(f"task {task_id} was tried again meanwhile; it is {found.task.state} now", found)
    return found


def _unknown(task_id: int) -> UnknownTask:
    return UnknownTask(f"there is no task {task_id}")


def _carry_out(
    run: Run, actor: Actor, change: Change, details: TaskDetails, apply: Callable[[Connection], list[int]]
) -> None:
    task = details.task
    possible = next(each for each in possible_changes(task, details.action) if each.verb == change.verb)
    change.before = {"state": task.state}

    def work(conn: Connection) -> None:
        if possible.why_not:
            raise MovedOn(f"task {task.id} stays as it is: {possible.why_not}", details)
        if not apply(conn):
            raise MovedOn(f"task {task.id} has changed meanwhile", details)
        change.after = {"state": "ready" if change.verb == "retry" else "discarded"}

    carry_out(run, actor, change, work, unseen=_unknown(task.id))


def _why_no_retry(task: TaskSummary) -> str | None:
    if task.kind == UNREADABLE and task.tenant_id is None:
        return "its body cannot be read, however often it is tried"
    return None if task.state in RETRYABLE else f"it is {task.state}"


def _why_no_discard(task: TaskSummary) -> str | None:
    return None if task.state in DISCARDABLE else f"it is {task.state}"


def _why_no_edit(task: TaskSummary, action: ActionView) -> str | None:
    if action.state in {"confirmed", "undone"}:
        return f"the action is {action.state}: Front has the change"
    if action.undo_asked_at:
        return "somebody asked for the undo of the action"
    if action.state == "intent" or action.intent_at:
        return "nobody knows whether Front has the change; the next attempt at it looks there first"
    return None if task.state in EDITABLE else f"it is {task.state}"
