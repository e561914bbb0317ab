"""`mailroom job`: list the jobs that change many tasks, watch one, pause, resume or cancel it."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

import click

from console.access.actor import command_line_actor
from console.cli.commands import PARTLY_FAILED
from console.cli.options import database, json_option, limit_option, operator_name
from console.cli.output import count_progress, print_json, print_pairs, print_table, say, say_if_empty
from console.times import format_short_time, format_time

if TYPE_CHECKING:
    from shared.db.core.pool import Connection
    from shared.db.jobs import Job

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
    from shared.db import jobs

    with database() as conn:
        found = jobs.latest(conn, limit=limit)
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
    from shared.db import jobs

    with database() as conn:
        found = _find(conn, number)
        outcomes, states = jobs.count_outcomes(conn, number), jobs.count_states(conn, number)
    if as_json:
        print_json({"job": found, "outcomes": outcomes, "states": states})
        return
    pairs = [
        ("job", found.id),
        ("what", f"{found.verb} {found.words}"),
        ("reason", found.reason),
        ("state", found.state),
        ("by", found.requested_by),
        ("planned", format_time(found.planned_at)),
        *((OUTCOMES[name], f"{count:,}") for name, count in sorted(outcomes.items())),
        *((f"now {name}", f"{count:,}") for name, count in sorted(states.items())),
    ]
    print_pairs((name, value) for name, value in pairs if value != "")


@job.command()
@number_argument
def watch(number: int) -> None:
    """Show how a running job goes on, until every task of it is settled. Ctrl-C leaves it running."""
    with database() as conn:
        _find(conn, number)
        watch_job(conn, number)


def _step_command(step: str, text: str) -> click.Command:
    @job.command(step, help=text)
    @number_argument
    def command(number: int) -> None:
        from console.operations.audited import in_transaction
        from console.operations.jobs import step_job

        with database() as conn:
            found = step_job(in_transaction(conn), command_line_actor(operator_name()), number, step)
        click.echo(f"job {number} is {found.state}")

    return command


for _step, _text in (
    ("start", "Start a planned job."),
    ("pause", "Pause a running job; tasks that it changed go on."),
    ("resume", "Go on with a paused job."),
    ("cancel", "End a job; what it changed so far stays changed."),
):
    _step_command(_step, _text)


def watch_job(conn: Connection, number: int) -> None:
    """Show progress until every task of the job is settled, and report what became of them.

    Carries the job out itself as far as no worker does, so that a job needs no worker to make its tasks due. Exits with
    PARTLY_FAILED when some tasks were not changed, or when the job waits and no worker runs.
    """
    from shared.db import jobs

    found = _find(conn, number)
    with count_progress(found.verb, found.total) as advance:
        shown, quiet_since = 0, time.monotonic()
        while True:
            _carry_out(conn, number)
            found, outcomes = _find(conn, number), jobs.count_outcomes(conn, number)
            settled = sum(outcomes.values()) - outcomes.get("open", 0)
            if settled > shown:
                advance(settled - shown)
                shown, quiet_since = settled, time.monotonic()
            if found.state != "running" or not outcomes.get("open"):
                break
            if time.monotonic() - quiet_since > PATIENCE_SECONDS and not _somebody_works(conn):
                break
            time.sleep(POLL_SECONDS)
    _report(found, outcomes)


def _carry_out(conn: Connection, number: int) -> None:
    from console.operations.audited import in_transaction
    from shared.db import jobs
    from shared.errors import Fenced

    run = in_transaction(conn)
    claimed = run(partial(jobs.claim, job_id=number))
    try:
        while claimed and run(partial(jobs.run_slice, job=claimed)):
            pass
    except Fenced:
        return


def _somebody_works(conn: Connection) -> bool:
    from shared.db.reading.status import running_processes

    return any(process.kind == "worker" for process in running_processes(conn))


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


def _find(conn: Connection, number: int) -> Job:
    from console.cli.commands import NothingMatched
    from shared.db import jobs

    found = jobs.get(conn, number)
    if found is None:
        raise NothingMatched(f"there is no job {number}; `mailroom job list` shows the newest")
    return found
