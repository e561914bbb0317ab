"""`mailroom job`: list the jobs that change many tasks, watch one, pause, resume or cancel it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from console.cli.backend import backend
from console.cli.commands import PARTLY_FAILED, NothingMatched
from console.cli.options import csv_option, json_option, limit_option
from console.cli.output import count_progress, print_json, print_pairs, print_rows, print_table, say, say_if_empty
from console.times import format_short_time, format_time

if TYPE_CHECKING:
    from console.cli.backend import Backend
    from shared.db.jobs import Job, JobProgress

POLL_SECONDS = 0.5
#: With nobody to carry a job out, and nothing of it settled for so long, nobody waits for it any longer.
PATIENCE_SECONDS = 5.0
OUTCOMES = {
    "open": "wait",
    "done": "changed",
    "moved_on": "moved on meanwhile",
    "not_retryable": "cannot be retried",
    "refused": "refused",
}

number_argument = click.argument("number", type=int, metavar="JOB")


@click.group()
def job() -> None:
    """List the jobs that change many tasks; watch, pause, resume or cancel one."""


@job.command("list")
@limit_option
@json_option
def list_(limit: int, as_json: bool) -> None:
    """List the latest jobs."""
    with backend() as mailroom:
        found = mailroom.list_jobs(limit=limit)
    if as_json:
        print_json(found)
        return
    rows = [(j.id, format_short_time(j.planned_at), j.verb, j.words, j.total, j.state, j.requested_by) for j in found]
    columns = ("job", "planned (UTC)", "what", "which", "tasks", "state", "by")
    print_table(columns, rows, right=("job", "tasks"), unwrapped=("job", "planned (UTC)", "state"))
    say_if_empty(found, "jobs")


@job.command()
@number_argument
@json_option
def show(number: int, as_json: bool) -> None:
    """Show one job and what became of its tasks."""
    with backend() as mailroom:
        progress = _find(mailroom, number)
    if as_json:
        print_json(progress)
        return
    found = progress.job
    pairs = [
        ("job", found.id),
        ("what", f"{found.verb} {found.words}"),
        ("reason", found.reason),
        ("state", found.state),
        ("by", found.requested_by),
        ("planned", format_time(found.planned_at)),
        *((OUTCOMES[name], f"{count:,}") for name, count in sorted(progress.outcomes.items())),
        *((f"now {name}", f"{count:,}") for name, count in sorted(progress.states.items())),
    ]
    print_pairs((name, value) for name, value in pairs if value != "")


@job.command()
@number_argument
@click.option("--outcome", type=click.Choice(tuple(OUTCOMES)), help="Only with this outcome; `open`: it waits.")
@limit_option
@json_option
@csv_option
def items(number: int, outcome: str | None, limit: int, as_json: bool, as_csv: bool) -> None:
    """List the tasks of a job, with what became of each.

    Example: mailroom job items 12 --outcome moved_on --csv
    """
    from shared.db.jobs import Item

    with backend() as mailroom:
        _find(mailroom, number)
        found = mailroom.list_job_items(number, outcome=outcome, limit=limit)
    if print_rows(Item, found, as_json=as_json, as_csv=as_csv):
        return
    columns = ("task", "kind", "tenant", "event", "change", "state now", "code")
    rows = [(i.task_id, i.kind, i.tenant, i.event, OUTCOMES[i.outcome or "open"], i.state, i.code) for i in found]
    print_table(columns, rows, right=("task",), unwrapped=("task", "event", "state now"))
    say_if_empty(found, "such tasks")


@job.command()
@number_argument
def watch(number: int) -> None:
    """Show how a running job goes on, until every task of it is settled. Ctrl-C leaves it running."""
    with backend() as mailroom:
        watch_job(mailroom, number)


def _step_command(step: str, text: str) -> click.Command:
    @job.command(step, help=text)
    @number_argument
    def command(number: int) -> None:
        with backend() as mailroom:
            found = mailroom.step_job(number, step)
        click.echo(f"job {number} is {found.state}")

    return command


for _step, _text in (
    ("start", "Start a planned job."),
    ("pause", "Pause a running job; tasks that it changed go on."),
    ("resume", "Go on with a paused job."),
    ("cancel", "End a job; what it changed so far stays changed."),
):
    _step_command(_step, _text)


def watch_job(mailroom: Backend, number: int) -> None:
    """Show progress until every task of the job is settled, and report what became of them.

    With the database the command carries the job out itself as far as no worker does. Exits with PARTLY_FAILED when
    some tasks were not changed, or when the job waits and no worker runs.
    """
    found = _find(mailroom, number)
    with count_progress(found.job.verb, found.job.total) as advance:
        shown, quiet_since = 0, time.monotonic()
        while True:
            mailroom.help_job(number)
            found = _find(mailroom, number)
            settled = sum(found.outcomes.values()) - found.outcomes.get("open", 0)
            if settled > shown:
                advance(settled - shown)
                shown, quiet_since = settled, time.monotonic()
            if found.job.state != "running" or not found.outcomes.get("open"):
                break
            if time.monotonic() - quiet_since > PATIENCE_SECONDS and "worker" not in mailroom.running_kinds():
                break
            time.sleep(POLL_SECONDS)
    _report(found.job, found.outcomes)


def _report(found: Job, outcomes: dict[str, int]) -> None:
    changed, waiting = outcomes.get("done", 0), outcomes.get("open", 0)
    click.echo(f"{found.verb}: {changed:,} of {found.total:,}")
    if waiting:
        say(f"job {found.id} is {found.state}, {waiting:,} tasks of it wait; `mailroom job watch {found.id}` goes on")
    for name in ("moved_on", "not_retryable", "refused"):
        if name in outcomes:
            say(f"  {outcomes[name]:,} {OUTCOMES[name]}")
    if changed < found.total:
        click.get_current_context().exit(PARTLY_FAILED)


def _find(mailroom: Backend, number: int) -> JobProgress:
    found = mailroom.job(number)
    if found is None:
        raise NothingMatched(f"there is no job {number}; `mailroom job list` shows the newest")
    return found
