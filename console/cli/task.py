"""`mailroom task`: the work behind events; failed work is tried again or given up here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from console.cli.options import dry_run_option, filter_of, filter_options, json_option, limit_option, yes_option
from console.cli.output import call_line, print_facts, screen, shown, state_style
from console.cli.times import spoken, stamp
from shared.db.reading.events import AttemptView
from shared.db.reading.tasks import TaskDetails, TaskSummary
from shared.models import TASK_STATES

if TYPE_CHECKING:
    from console.cli.bulk import Change


LONGEST_REASON = 1_000
ids_argument = click.argument("ids", type=int, nargs=-1, metavar="[TASK]…")


def print_task(found: TaskDetails) -> None:
    """Print the task and its attempts."""
    task, page = found.task, screen()
    page.print(Text.assemble((f"task {task.id}", "bold"), f"  {task.kind}  ", (task.state, state_style(task.state))))
    facts = [
        ("event", task.event),
        ("tenant", task.tenant),
        ("code", task.code),
        ("detail", task.detail),
        ("due", _due(task) if task.state in {"ready", "queued", "parked"} else None),
        ("attempts", task.attempts),
    ]
    print_facts((name, value) for name, value in facts if value is not None)
    for attempt in found.attempts:
        page.print(_attempt(attempt))


def _due(task: TaskSummary) -> str:
    return stamp(task.due_at) if task.due_at else "when another task of its conversation releases it"


def _attempt(attempt: AttemptView) -> Text:
    ended = spoken((attempt.ended_at - attempt.started_at).total_seconds()) if attempt.ended_at else "no end"
    parts = (
        stamp(attempt.started_at),
        attempt.outcome or "no outcome",
        attempt.code,
        ended,
        attempt.worker,
        attempt.detail,
    )
    text = shown("  " + " · ".join(part for part in parts if part))
    for call in attempt.calls:
        text.append_text(call_line(call))
    return text


@click.group()
def task() -> None:
    """List tasks, look at one, retry or discard."""


@task.command("list")
@filter_options(TASK_STATES)
@limit_option
@json_option
def list_(limit: int, as_json: bool, **chosen: Any) -> None:
    """List the newest tasks.

    Example: mailroom task list --state failed --code front_unavailable
    """
    from console.cli.options import database
    from console.cli.output import print_json, print_table, say_when_none
    from console.cli.times import short_stamp
    from shared.db.reading import tasks

    with database() as conn:
        found = tasks.latest(conn, filter_of(conn, chosen), limit=limit)
    if as_json:
        print_json(found)
        return
    rows = [(t.id, short_stamp(t.created_at), t.kind, t.state, t.code, t.attempts, t.tenant, t.event) for t in found]
    columns = ("task", "made (UTC)", "kind", "state", "code", "attempts", "tenant", "event")
    print_table(columns, rows, right=("task", "attempts"), whole=("task", "made (UTC)", "state", "event"))
    say_when_none(found, "such tasks")


@task.command()
@click.argument("number", type=int, metavar="TASK")
@json_option
def show(number: int, as_json: bool) -> None:
    """Show one task and its attempts."""
    from console.cli.commands import NothingMatched
    from console.cli.options import database
    from console.cli.output import print_json

    # DROPPED
    from shared.db.reading import tasks

    with database() as conn, conn.transaction():
        found = tasks.task_details(conn, number)
    if found is None:
        raise NothingMatched(f"there is no task {number}; `mailroom task list` shows the newest")
    if as_json:
        print_json(found)
    else:
        print_task(found)


@task.command()
@ids_argument
@filter_options(TASK_STATES)
@dry_run_option
@yes_option
def retry(ids: tuple[int, ...], dry_run: bool, yes: bool, **chosen: Any) -> None:
    """Run failed tasks again, by number or by filter.

    Example: mailroom task retry --code front_unavailable --since 6h --yes
    """
    from console.cli.bulk import Change
    from shared.db.tasks import manual_changes

    _change(Change(verb="retry", states=("failed",), apply=manual_changes.retry), ids, chosen, dry_run=dry_run, yes=yes)


@task.command()
@ids_argument
@filter_options(TASK_STATES)
@click.option("--reason", required=True, help="Why; it stays in the event's timeline.")
@dry_run_option
@yes_option
def discard(ids: tuple[int, ...], reason: str, dry_run: bool, yes: bool, **chosen: Any) -> None:
    """Give up failed or waiting tasks, by number or by filter.

    Example: mailroom task discard 4711 --reason "mail was a test" --yes
    """
    from functools import partial

    from console.cli.bulk import Change
    from shared.db.tasks import manual_changes
    from shared.text import clean

    reason = clean(reason.strip(), LONGEST_REASON)
    if not reason:
        raise click.UsageError("--reason must say something")
    waiting = ("failed", "ready", "queued")
    apply = partial(manual_changes.discard, reason=reason)
    _change(Change(verb="discard", states=waiting, apply=apply), ids, chosen, dry_run=dry_run, yes=yes)


def _change(change: Change, ids: tuple[int, ...], chosen: dict[str, Any], *, dry_run: bool, yes: bool) -> None:
    from console.cli.bulk import run
    from console.cli.options import database

    with database() as conn:
        wanted = filter_of(conn, chosen, ids or None)
        if wanted.is_open:
            raise click.UsageError("name tasks or narrow them: --state, --code, --kind, --tenant or --since")
        run(conn, change, wanted, dry_run=dry_run, yes=yes)
