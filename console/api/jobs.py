"""The routes of jobs: plan a change of many tasks, look at it, start it, pause, resume or cancel it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from console.api.blueprint import (
    BODY_PROBLEMS,
    CONFLICT,
    JOBS,
    api,
    bound_tenant,
    current_actor,
    needs,
    reading,
    run,
)
from console.api.idempotency import IdempotencyHeader, once
from console.api.lists import ListPage, ListQuery, cut, filter_of, number_after
from console.api.schemas import BIGGEST_ID, NumberPath, Parameters, PossibleChangeShown, RequestBody, ResponseBody
from console.filter_words import LONGEST, TASK_LIST
from console.operations import jobs as operations
from console.operations.audited import Run
from console.operations.tasks import LONGEST_REASON
from shared.db import jobs
from shared.db.jobs import STATES, Item, Job, Plan, Verb
from shared.db.reading.tasks import TaskGroup, count_groups

MOST_CHOSEN = 10_000  # tasks
MOST_GROUPS = 1_000
MOST_PER_MINUTE = 100_000
PLAN_SECONDS = 20.0

TaskNumber = Annotated[int, Field(ge=1, le=BIGGEST_ID)]
Outcome = Literal["open", "done", "moved_on", "not_retryable", "refused"]


class JobPage(ListPage):
    """A page of jobs."""

    jobs: list[Job]


class JobShown(ResponseBody):
    """A job with the number of its tasks by outcome, of those that it changed by state, and with its possible steps."""

    job: Job
    outcomes: dict[str, int]
    states: dict[str, int]
    possible_changes: list[PossibleChangeShown]


class JobOrder(RequestBody):
    """A change of many tasks to plan: of those that match the filter words, of the chosen ones, or of both."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"verb": "retry", "q": "state:failed code:front_unavailable", "per_minute": 100}}
    )

    verb: Verb = Field(description="retry, discard, or recover: send notifications again that ended, however they did")
    q: str = Field("", max_length=LONGEST, description="Filter words, as in `state:failed since:2h`")
    tasks: list[TaskNumber] | None = Field(
        None, min_length=1, max_length=MOST_CHOSEN, description="Only these tasks, by number"
    )
    reason: str = Field("", max_length=LONGEST_REASON, description="Why; a discard needs it")
    accept_size: bool = Field(default=False, description="Of a retry: take a file of another size, too")
    per_minute: int | None = Field(
        None,
        ge=1,
        le=MOST_PER_MINUTE,
        description="The tasks it changes a minute; null: as fast as they are worked",
    )


class PreviewQuery(Parameters):
    """A change of many tasks that is only looked at."""

    verb: Verb = Field(description="retry, discard or recover")
    q: str = Field("", max_length=LONGEST, description="Filter words, as in `state:failed since:2h`")
    tasks: str | None = Field(
        None, pattern=r"^\d{1,18}(,\d{1,18})*$", max_length=20_000, description="Only these tasks: numbers with commas"
    )


class Preview(ResponseBody):
    """The tasks that a job would have now, counted by tenant, kind, state and cause."""

    groups: list[TaskGroup]


class JobGroups(ResponseBody):
    """The tasks of a job, counted by tenant, kind, state and cause."""

    groups: list[TaskGroup]


class ItemsQuery(ListQuery):
    """A page of a job's tasks."""

    outcome: Outcome | None = Field(None, description="Only with this outcome; `open`: it waits for its change")


class ItemPage(ListPage):
    """A page of a job's tasks, with what became of each."""

    items: list[Item]


class StepPath(NumberPath):
    """A step of a job."""

    step: Literal["start", "pause", "resume", "cancel"] = Field(description="What to do with the job")


@api.get("/jobs", tags=[JOBS], responses={200: JobPage})
def list_jobs(query: ListQuery) -> dict[str, Any]:
    """List the latest jobs. A token of one tenant sees those that were planned with such a token."""
    with reading() as conn:
        before = number_after(query.after)
        rows = jobs.latest(conn, limit=query.limit + 1, before_id=before, tenant_id=bound_tenant())
    page, following = cut(rows, query.limit, lambda row: [row.id])
    return {"jobs": page, "next": following}


@api.post("/jobs", tags=[JOBS], responses={201: JobShown, **BODY_PROBLEMS, **CONFLICT})
@needs("retry")
def plan_job(header: IdempotencyHeader, body: JobOrder) -> tuple[dict[str, Any], int]:
    """Choose the tasks that match now; nothing is changed before the job is started."""
    chosen = tuple(body.tasks or ())
    with reading() as conn:
        words, wanted = filter_of(conn, body.q, TASK_LIST)
    plan = Plan(
        verb=body.verb,
        words=operations.described(words, chosen),
        requested_by=current_actor().name,
        reason=body.reason,
        accept_size=body.accept_size,
        per_minute=body.per_minute,
    )
    wanted = replace(wanted, ids=chosen or None)
    return once(header, lambda run: _shown(operations.plan_job(run, current_actor(), wanted, plan), run=run))


@api.get("/jobs/preview", tags=[JOBS], responses={200: Preview})
def preview_job(query: PreviewQuery) -> dict[str, Any]:
    """Count the tasks that a job would have now, without planning it."""
    with reading(PLAN_SECONDS) as conn:
        _, wanted = filter_of(conn, query.q, TASK_LIST)
        ids = tuple(map(int, query.tasks.split(","))) if query.tasks else None
        return {"groups": count_groups(conn, replace(wanted, ids=ids), STATES[query.verb])[:MOST_GROUPS]}


@api.get("/jobs/<int:number>", tags=[JOBS], responses={200: JobShown})
def show_job(path: NumberPath) -> dict[str, Any]:
    """Show a job: how far it is, and what can be done with it."""
    return _shown(path.number)


@api.get("/jobs/<int:number>/groups", tags=[JOBS], responses={200: JobGroups})
def list_job_groups(path: NumberPath) -> dict[str, Any]:
    """Count the tasks of a job by tenant, kind, state and cause, the largest groups first."""
    job = operations.get_job(run, current_actor(), path.number)
    with reading() as conn:
        return {"groups": jobs.groups(conn, job.id, limit=MOST_GROUPS)}


@api.get("/jobs/<int:number>/items", tags=[JOBS], responses={200: ItemPage})
def list_job_items(path: NumberPath, query: ItemsQuery) -> dict[str, Any]:
    """List the tasks of a job, with what became of each."""
    job = operations.get_job(run, current_actor(), path.number)
    after = number_after(query.after) or 0
    with reading() as conn:
        rows: Sequence[Item] = jobs.items(conn, job.id, limit=query.limit + 1, after=after, outcome=query.outcome)
    page, following = cut(rows, query.limit, lambda row: [row.task_id])
    return {"items": page, "next": following}


@api.post("/jobs/<int:number>/<string:step>", tags=[JOBS], responses={200: JobShown, **CONFLICT})
@needs("retry")
def step_job(path: StepPath) -> dict[str, Any]:
    """Start a planned job, pause a running one, resume a paused one, or cancel it."""
    operations.step_job(run, current_actor(), path.number, path.step)
    return _shown(path.number)


def _shown(number: int, *, run: Run = run) -> dict[str, Any]:
    job = operations.get_job(run, current_actor(), number)
    found = run(lambda conn: jobs.progress(conn, job.id))
    if found is None:
        raise operations.UnknownJob(f"there is no job {number}")
    return {**vars(found), "possible_changes": operations.possible_changes(found.job)}
