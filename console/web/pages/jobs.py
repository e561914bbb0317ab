"""Jobs: plan a change of many tasks, look at what it would change, start it, and watch, pause or cancel it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from flask import abort, flash, redirect, request, url_for

from console.filter_words import TASK_LIST, api_address, command_line, is_number
from console.operations import jobs as operations
from console.operations.tasks import ReasonMissing
from console.web.login import local_path
from console.web.pages.shell import PAGE_SIZE, address, current_actor, page, parse_filter, reading, render
from console.web.problems import problem_page
from console.web.resources import current_resources
from shared.db import jobs
from shared.db.jobs import Plan
from shared.db.reading.filters import Filter

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

SAMPLE = 20
GROUPS = 12
MOST_CHOSEN = 1_000
VERBS = {"retry", "discard"}


@page("/jobs")
def jobs_page() -> ResponseReturnValue:
    """List the latest jobs."""
    with reading() as conn:
        rows = jobs.latest(conn, limit=PAGE_SIZE, before_id=request.args.get("before", type=int))
    older = address(before=rows[-1].id) if len(rows) == PAGE_SIZE else None
    return render("pages/jobs.html", title="Jobs", section="Jobs", rows=rows, older=older)


@page("/jobs/plan", methods=("POST",))
def plan_job() -> ResponseReturnValue:
    """Choose tasks for a job: those whose boxes are checked, those of the page, or all that match the filter."""
    verb = request.form.get("verb", "")
    if verb not in VERBS:
        abort(422)
    which = request.form.get("which", "chosen")
    numbers = request.form.getlist("shown" if which == "page" else "task")
    chosen = tuple(map(int, filter(is_number, numbers[:MOST_CHOSEN])))
    with reading() as conn:
        listing = parse_filter(conn, request.form.get("q", ""), TASK_LIST)
    if listing.problem:
        return problem_page(422, "The filter cannot be read", listing.problem)
    every = which == "all"
    if not every and not chosen:
        return problem_page(
            422, "No task is chosen", "Go back and check the boxes of the tasks, or choose all of the page."
        )
    wanted = replace(listing.filter, before_id=None) if every else Filter(ids=chosen)
    plan = Plan(
        verb="retry" if verb == "retry" else "discard",
        words=listing.words.text() if every else f"{len(chosen)} chosen tasks",
        requested_by=current_actor().name,
        reason=request.form.get("reason", ""),
        accept_size="accept_size" in request.form,
    )
    try:
        number = operations.plan_job(current_resources().pool.run, current_actor(), wanted, plan)
    except (operations.FilterTooWide, ReasonMissing) as refusal:
        return problem_page(422, "The job was not planned", f"{refusal}.")
    return redirect(url_for("pages.job_page", number=number, back=request.form.get("back")), 303)


@page("/jobs/<int:number>")
def job_page(number: int) -> ResponseReturnValue:
    """Show a job: what it would change, how far it is, and what became of its tasks."""
    outcome = request.args.get("outcome")
    with reading() as conn:
        job = jobs.get(conn, number)
        if job is None:
            abort(404)
        outcomes, states = jobs.count_outcomes(conn, number), jobs.count_states(conn, number)
        groups = jobs.groups(conn, number, limit=GROUPS)
        rows = jobs.items(
            conn, number, limit=SAMPLE, after=request.args.get("after", 0, type=int), outcome=outcome or None
        )
    return render(
        "pages/job.html",
        title=f"Job {number}",
        section="Jobs",
        job=job,
        outcomes=outcomes,
        states=states,
        groups=groups,
        rows=rows,
        outcome=outcome,
        list_address=_list_address(request.args.get("back", "")),
        command=command_line(f"job items {number}", {"outcome": outcome}),
        api_address=current_resources().settings.public_url + api_address(f"jobs/{number}/items", {"outcome": outcome}),
        older=address(after=rows[-1].task_id) if len(rows) == SAMPLE else None,
        steps=operations.possible_steps(job) if current_actor().may(job.verb, job.tenant_id) else [],
    )


@page("/jobs/<int:number>/step", methods=("POST",))
def step_job(number: int) -> ResponseReturnValue:
    """Start, pause, resume or cancel a job."""
    step = request.form.get("step", "")
    if step not in operations.STEPS:
        abort(422)
    place = url_for("pages.job_page", number=number, back=request.form.get("back") or None)
    try:
        job = operations.step_job(current_resources().pool.run, current_actor(), number, step)
    except operations.UnknownJob:
        abort(404)
    except operations.JobMovedOn as refusal:
        return problem_page(409, "That changed meanwhile", f"{refusal}.", again=place)
    flash(f"Job {number} is {job.state} now.")
    came_from = _list_address(request.form.get("back", ""))
    return redirect(came_from if came_from and job.state == "cancelled" and not job.started_at else place, 303)


def _list_address(given: str) -> str | None:
    """Return the address of the list in which the tasks of a job were chosen; None if it is none of ours."""
    address = local_path(given)
    return address if address.startswith(url_for("pages.tasks_page")) else None
