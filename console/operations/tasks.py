"""Change one task that failed or waits, and decide about a group of failures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

from console.operations.audited import Change, Run, carry_out
from shared.db.reading import groups, tasks
from shared.db.tasks import failure_groups, manual_changes
from shared.errors import MailroomError
from shared.text import clean

if TYPE_CHECKING:
    from console.access.actor import Actor
    from shared.db.core.pool import Connection
    from shared.db.reading.tasks import TaskSummary
    from shared.db.tasks.failure_groups import Decision

LONGEST_REASON = 1_000  # characters
RETRYABLE = frozenset({"failed"})
DISCARDABLE = frozenset({"failed", "ready", "queued", "parked"})
UNREADABLE = "record"  # the kind of a task whose body cannot be read, however often it is tried


class UnknownTask(MailroomError):
    """There is no such task."""

    code = "unknown_task"


class UnknownGroup(MailroomError):
    """There is no such group of failures."""

    code = "unknown_group"


class MovedOn(MailroomError):
    """The task is no longer as it was shown; `possible_changes` says what can be done with it now."""

    code = "moved_on"

    def __init__(self, message: str, task: TaskSummary):
        super().__init__(message)
        self.possible_changes = possible_changes(task)


class ReasonMissing(MailroomError):
    """A discard has a reason that says something."""

    code = "reason_missing"


@dataclass(frozen=True, kw_only=True)
class PossibleChange:
    """A change of a task, and what is in its way, if anything is."""

    verb: Literal["retry", "discard"]
    why_not: str | None

    @property
    def is_possible(self) -> bool:
        """Whether the change can be made now."""
        return self.why_not is None


def possible_changes(task: TaskSummary) -> tuple[PossibleChange, PossibleChange]:
    """Say what can be done with a task: pure, and the same for pages, the API and the changes themselves."""
    return (
        PossibleChange(verb="retry", why_not=_why_no_retry(task)),
        PossibleChange(verb="discard", why_not=_why_no_discard(task)),
    )


def retry_task(run: Run, actor: Actor, task_id: int, *, attempts: int | None = None, accept_size: bool = False) -> None:
    """Make a failed task due again. `attempts`: how many the task had when it was shown.

    Raises NotAllowed, UnknownTask, MovedOn.
    """
    task = _task(run, actor, task_id, attempts)
    change = Change(verb="retry", target=f"task {task_id}", tenant_id=task.tenant_id)
    apply = partial(manual_changes.retry, task_ids=[task_id], who=actor.name, accept_size=accept_size)
    _carry_out(run, actor, change, task, apply)


def discard_task(run: Run, actor: Actor, task_id: int, *, reason: str, attempts: int | None = None) -> None:
    """Give a failed or waiting task up. Raises NotAllowed, ReasonMissing, UnknownTask, MovedOn."""
    why = require_reason(reason)
    task = _task(run, actor, task_id, attempts)
    change = Change(verb="discard", target=f"task {task_id}", tenant_id=task.tenant_id, detail=why)
    apply = partial(manual_changes.discard, task_ids=[task_id], who=actor.name, reason=why)
    _carry_out(run, actor, change, task, apply)


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


def _task(run: Run, actor: Actor, task_id: int, attempts: int | None) -> TaskSummary:
    found = run(lambda conn: tasks.task_details(conn, task_id))
    if found is None:
        raise _unknown(task_id)
    if actor.sees(found.task.tenant_id) and attempts is not None and attempts != found.task.attempts:
        raise MovedOn(f"task {task_id} was tried again meanwhile; it is {found.task.state} now", found.task)
    return found.task


def _unknown(task_id: int) -> UnknownTask:
    return UnknownTask(f"there is no task {task_id}")


def _carry_out(
    run: Run, actor: Actor, change: Change, task: TaskSummary, apply: Callable[[Connection], list[int]]
) -> None:
    possible = next(each for each in possible_changes(task) if each.verb == change.verb)
    change.before = {"state": task.state}

    def work(conn: Connection) -> None:
        if possible.why_not:
            raise MovedOn(f"task {task.id} stays as it is: {possible.why_not}", task)
        if not apply(conn):
            raise MovedOn(f"task {task.id} has changed meanwhile", task)
        change.after = {"state": "ready" if change.verb == "retry" else "discarded"}

    carry_out(run, actor, change, work, unseen=_unknown(task.id))


def _why_no_retry(task: TaskSummary) -> str | None:
    if task.kind == UNREADABLE:
        return "its body cannot be read, however often it is tried"
    return None if task.state in RETRYABLE else f"it is {task.state}"


def _why_no_discard(task: TaskSummary) -> str | None:
    return None if task.state in DISCARDABLE else f"it is {task.state}"
