"""The routes of tasks and of groups of failures: lists, one of them, and how to mend them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any, Literal

from pydantic import ConfigDict, Field

from console.api.blueprint import BODY_PROBLEMS, CONFLICT, TASKS, api, current_actor, needs, reading, run
from console.api.lists import FilteredQuery, ListPage, WorkQuery, cut, moment_after, number_after, read_filter
from console.api.schemas import NumberPath, PossibleChangeShown, RequestBody, ResponseBody
from console.filter_words import GROUP_LIST, TASK_LIST
from console.operations import tasks as operations
from console.operations.tasks import LONGEST_REASON, UnknownGroup, UnknownTask
from shared.db.reading import groups, tasks
from shared.db.reading.attempts import AttemptView
from shared.db.reading.events import ActionView
from shared.db.reading.groups import FailureGroup
from shared.db.reading.tasks import TaskSummary
from shared.db.tasks.failure_groups import Decision

LONGEST_NOTE = 1_000  # characters
MOST_DAYS = 3_650


class TasksQuery(WorkQuery):
    """A page of tasks, the newest first."""

    group: str | None = Field(None, description="Only failed tasks of this group of failures: its number")
    job: str | None = Field(None, description="Only tasks of this job: its number")


class TaskPage(ListPage):
    """A page of tasks."""

    tasks: list[TaskSummary]


class TaskShown(ResponseBody):
    """A task with its attempts, the first one first, and with what can be done with it."""

    task: TaskSummary
    attempts: list[AttemptView]
    action: ActionView | None = Field(description="The action that the task applies, if it applies one")
    delivery: str | None = Field(description="The delivery's id, which is in every line of the log about the task")
    possible_changes: list[PossibleChangeShown]


class RetryOrder(RequestBody):
    """How to retry a task."""

    model_config = ConfigDict(json_schema_extra={"example": {"attempts": 3}})

    attempts: int | None = Field(
        None,
        ge=0,
        description="The attempts that the task had when you read it; if it has more now, nothing is done",
    )
    accept_size: bool = Field(default=False, description="Take a file also when it has another size than was announced")


class DiscardOrder(RequestBody):
    """Why to give a task up."""

    model_config = ConfigDict(json_schema_extra={"example": {"reason": "the mail was a test"}})

    reason: str = Field(max_length=LONGEST_REASON, description="Why; it stays in the event's timeline")
    attempts: int | None = Field(
        None,
        ge=0,
        description="The attempts that the task had when you read it; if it has more now, nothing is done",
    )


class ActionOrder(RequestBody):
    """Another action for a task to apply."""

    model_config = ConfigDict(json_schema_extra={"example": {"action": "archive", "was": "trash"}})

    action: str = Field(max_length=100, description="none, archive, trash or tag:TAG_ID")
    was: str | None = Field(
        None, max_length=100, description="The action when you read the task; if it is another one now, nothing is done"
    )
    attempts: int | None = Field(
        None,
        ge=0,
        description="The attempts that the task had when you read it; if it has more now, nothing is done",
    )


class GroupPage(ListPage):
    """A page of groups of failures."""

    groups: list[FailureGroup]


class GroupShown(ResponseBody):
    """A group of failures."""

    group: FailureGroup


class GroupDecision(RequestBody):
    """A decision about a group of failures."""

    model_config = ConfigDict(json_schema_extra={"example": {"state": "ignored", "days": 7, "note": "a known bounce"}})

    state: Literal["open", "acknowledged", "ignored", "fixed"] = Field(
        description="The new state. A fixed group that fails again is open again"
    )
    note: str = Field("", max_length=LONGEST_NOTE, description="A note for people")
    days: int | None = Field(None, ge=1, le=MOST_DAYS, description="How long it stays ignored; null: for ever")


@api.get("/tasks", tags=[TASKS], responses={200: TaskPage})
def list_tasks(query: TasksQuery) -> dict[str, Any]:
    """List the newest tasks that match."""
    with reading() as conn:
        wanted = replace(read_filter(conn, query, TASK_LIST), before_id=number_after(query.after))
        rows = tasks.latest(conn, wanted, limit=query.limit + 1)
    page, following = cut(rows, query.limit, lambda row: [row.id])
    return {"tasks": page, "next": following}


@api.get("/tasks/<int:number>", tags=[TASKS], responses={200: TaskShown})
def show_task(path: NumberPath) -> dict[str, Any]:
    """Show a task with its attempts."""
    return _task(path.number)


@api.post("/tasks/<int:number>/retry", tags=[TASKS], responses={200: TaskShown, **BODY_PROBLEMS, **CONFLICT})
@needs("retry")
def retry_task(path: NumberPath, body: RetryOrder) -> dict[str, Any]:
    """Make a failed task due again."""
    operations.retry_task(run, current_actor(), path.number, attempts=body.attempts, accept_size=body.accept_size)
    return _task(path.number)


@api.post("/tasks/<int:number>/discard", tags=[TASKS], responses={200: TaskShown, **BODY_PROBLEMS, **CONFLICT})
@needs("discard")
def discard_task(path: NumberPath, body: DiscardOrder) -> dict[str, Any]:
    """Give a failed or waiting task up."""
    operations.discard_task(run, current_actor(), path.number, reason=body.reason, attempts=body.attempts)
    return _task(path.number)


@api.patch("/tasks/<int:number>", tags=[TASKS], responses={200: TaskShown, **BODY_PROBLEMS, **CONFLICT})
@needs("edit_action")
def change_task(path: NumberPath, body: ActionOrder) -> dict[str, Any]:
    """Have a failed or waiting task apply another action, and make it due.

    Never once Front has, or may have, the first one.
    """
    edit = operations.ActionEdit(was=body.was, attempts=body.attempts)
    operations.edit_action(run, current_actor(), path.number, action=body.action, edit=edit)
    return _task(path.number)


@api.get("/failure-groups", tags=[TASKS], responses={200: GroupPage})
def list_groups(query: FilteredQuery) -> dict[str, Any]:
    """List the groups of failures, the one that failed last first; without a state, those that need somebody."""
    with reading() as conn:
        wanted = read_filter(conn, query, GROUP_LIST)
        rows = groups.latest(conn, wanted, limit=query.limit + 1, before=moment_after(query.after))
    page, following = cut(rows, query.limit, lambda row: [row.last_seen.isoformat(), row.id])
    return {"groups": page, "next": following}


@api.get("/failure-groups/<int:number>", tags=[TASKS], responses={200: GroupShown})
def show_group(path: NumberPath) -> dict[str, Any]:
    """Show a group of failures."""
    return {"group": _group(path.number)}


@api.post("/failure-groups/<int:number>/decision", tags=[TASKS], responses={200: GroupShown, **BODY_PROBLEMS})
@needs("triage")
def decide_group(path: NumberPath, body: GroupDecision) -> dict[str, Any]:
    """Acknowledge, ignore, fix or reopen a group of failures."""
    actor = current_actor()
    ignored_for = None if body.days is None else timedelta(days=body.days)
    decision = Decision(state=body.state, who=actor.name, note=body.note, ignored_for=ignored_for)
    operations.decide_group(run, actor, path.number, decision)
    return {"group": _group(path.number)}


def _task(number: int) -> dict[str, Any]:
    with reading() as conn:
        found = tasks.task_details(conn, number)
    if found is None or not current_actor().sees(found.task.tenant_id):
        raise UnknownTask(f"there is no task {number}")
    return {**vars(found), "possible_changes": operations.possible_changes(found.task, found.action)}


def _group(number: int) -> FailureGroup:
    with reading() as conn:
        found = groups.get(conn, number)
    if found is None or not current_actor().sees(found.tenant_id):
        raise UnknownGroup(f"there is no group {number}")
    return found
