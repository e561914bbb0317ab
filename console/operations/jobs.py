"""Plan changes of many tasks as jobs, and start, pause, resume or cancel them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from console.operations.audited import Change, Run, carry_out
from console.operations.tasks import require_reason
from shared.db import jobs
from shared.errors import MailroomError

if TYPE_CHECKING:
    from collections.abc import Collection

    from console.access.actor import Actor
    from console.filter_words import Words
    from shared.db.core.pool import Connection
    from shared.db.jobs import Job, Plan
    from shared.db.reading.filters import Filter

#: The right to a job's verb, where it has another name.
RIGHTS = {"recover": "retry"}
#: What somebody can do to a job: the state it leads to, and those from which it is possible.
STEPS = {
    "start": ("running", ("planned",)),
    "pause": ("paused", ("running",)),
    "resume": ("running", ("paused",)),
    "cancel": ("cancelled", ("planned", "running", "paused")),
}


class FilterTooWide(MailroomError):
    """A job needs a filter: changing every task there is would rarely be meant."""

    code = "filter_too_wide"


class UnknownJob(MailroomError):
    """There is no such job."""

    code = "unknown_job"


class JobMovedOn(MailroomError):
    """The job is in another state than the step needs; `possible_changes` says which steps it can take now."""

    code = "job_moved_on"

    def __init__(self, message: str, job: Job):
        super().__init__(message)
        self.possible_changes = possible_changes(job)


@dataclass(frozen=True, kw_only=True)
class PossibleStep:
    """A step of a job, and what is in its way, if anything is."""

    verb: str
    why_not: str | None


def plan_job(run: Run, actor: Actor, wanted: Filter, plan: Plan) -> int:
    """Choose the tasks that match now, and return the id of the planned job; nothing is changed yet.

    An actor of one tenant plans for that tenant alone. Raises NotAllowed, FilterTooWide, and ReasonMissing for a
    discard without a reason.
    """
    if wanted.is_open:
        raise FilterTooWide("narrow the filter first: name a state, a cause, a tenant or a time")
    if plan.verb == "recover":
        if wanted.endpoint is None:
            raise FilterTooWide("name the endpoint whose notifications are sent again, as in endpoint:3")
        wanted = replace(wanted, kind="notify")
    if plan.verb == "discard":
        require_reason(plan.reason)
    if actor.tenant_id is not None and wanted.tenant_id in {None, actor.tenant_id}:
        wanted, plan = replace(wanted, tenant_id=actor.tenant_id), replace(plan, tenant_id=actor.tenant_id)
    right = RIGHTS.get(plan.verb, plan.verb)
    change = Change(verb=right, target=f"tasks {plan.words}", tenant_id=wanted.tenant_id, detail=plan.reason)

    def work(conn: Connection) -> int:
        job_id = jobs.plan(conn, wanted, plan)
        change.after = {"job": job_id, "state": "planned"}
        return job_id

    return carry_out(run, actor, change, work)


def step_job(run: Run, actor: Actor, job_id: int, step: str) -> Job:
    """Start, pause, resume or cancel a job, and return it as it is then. Raises NotAllowed, UnknownJob, JobMovedOn."""
    unknown = UnknownJob(f"there is no job {job_id}")
    job = run(lambda conn: jobs.get(conn, job_id))
    if job is None:
        raise unknown
    state, allowed = STEPS[step]
    change = Change(
        verb=RIGHTS.get(job.verb, job.verb),
        target=f"job {job_id}",
        tenant_id=job.tenant_id,
        before={"state": job.state},
        after={"state": state},
    )

    def work(conn: Connection) -> None:
        if not jobs.set_state(conn, job_id, state, allowed=allowed):
            raise JobMovedOn(f"job {job_id} is {job.state}: {_why_not(job, step)}", job)

    carry_out(run, actor, change, work, unseen=unknown)
    return get_job(run, actor, job_id)


def get_job(run: Run, actor: Actor, job_id: int) -> Job:
    """Return a job that the actor may see. Raises UnknownJob."""
    job = run(lambda conn: jobs.get(conn, job_id))
    if job is None or not actor.may("read", job.tenant_id):
        raise UnknownJob(f"there is no job {job_id}")
    return job


def possible_steps(job: Job) -> list[str]:
    """Return the steps that a job in its state can take: pure."""
    return [each.verb for each in possible_changes(job) if each.why_not is None]


def possible_changes(job: Job) -> list[PossibleStep]:
    """Say for each step whether a job in its state can take it: pure."""
    return [PossibleStep(verb=step, why_not=_why_not(job, step)) for step in STEPS]


def described(words: Words, task_ids: Collection[int]) -> str:
    """Say which tasks a job is about, in the words of a filter: pure."""
    return f"{len(task_ids):,} chosen tasks" if task_ids else words.text()


def _why_not(job: Job, step: str) -> str | None:
    state, allowed = STEPS[step]
    return None if job.state in allowed else f"it can be {state} only while it is {' or '.join(allowed)}"
