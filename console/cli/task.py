"""`mailroom task`: list and show the tasks behind events; retry or discard them one by one or in bulk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import click

from console.cli.commands import PARTLY_FAILED, NothingMatched
from console.cli.options import (
    database,
    dry_run_option,
    filter_from,
    filter_options,
    json_option,
    limit_option,
    operator_name,
    yes_option,
)
from console.cli.output import (
    call_line,
    confirm,
    count_progress,
    print_json,
    print_pairs,
    print_table,
    safe_text,
    say,
    say_if_empty,
    state_style,
    stdout_page,
)
from console.times import format_duration, format_short_time, format_time
from shared.models import TASK_STATES
from shared.text import clean

if TYPE_CHECKING:
    from rich.text import Text

    from shared.db.core.pool import Connection
    from shared.db.reading.events import AttemptView
    from shared.db.reading.filters import Filter
    from shared.db.reading.tasks import TaskDetails, TaskSummary

LONGEST_REASON = 1_000  # characters
BATCH_SIZE = 200  # tasks changed in one transaction
MAX_GROUPS = 12  # groups of the plan that are shown

ids_argument = click.argument("ids", type=int, nargs=-1, metavar="[TASK]…")


class ApplyChange(Protocol):
    """Changes these tasks as far as their state still allows it, and returns the ids of those it changed."""

    def __call__(self, conn: Connection, task_ids: Sequence[int], /, *, who: str) -> list[int]: ...


@dataclass(frozen=True, kw_only=True)
class BulkChange:
    """A change of many tasks, and the states from which it is possible."""

    verb: str
    states: tuple[str, ...]
    apply: ApplyChange


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
    from shared.db.reading import tasks

    with database() as conn:
        found = tasks.latest(conn, filter_from(conn, chosen), limit=limit)
    if as_json:
        print_json(found)
        return
    columns = ("task", "made (UTC)", "kind", "state", "code", "attempts", "tenant", "event")
    rows = [
        (t.id, format_short_time(t.created_at), t.kind, t.state, t.code, t.attempts, t.tenant, t.event) for t in found
    ]
    print_table(columns, rows, right=("task", "attempts"), unwrapped=("task", "made (UTC)", "state", "event"))
    say_if_empty(found, "such tasks")


@task.command()
@click.argument("number", type=int, metavar="TASK")
@json_option
def show(number: int, as_json: bool) -> None:
    """Show one task and its attempts."""
    from shared.db.reading import tasks

    with database() as conn, conn.transaction():
        found = tasks.task_details(conn, number)
    if found is None:
        raise NothingMatched(f"there is no task {number}; `mailroom task list` shows the newest")
    if as_json:
        print_json(found)
    else:
        _print(found)


@task.command()
@ids_argument
@filter_options(TASK_STATES)
@click.option(
    "--accept-size", is_flag=True, help="Take a file also when it has another size than its message announced."
)
@dry_run_option
@yes_option
def retry(ids: tuple[int, ...], accept_size: bool, dry_run: bool, yes: bool, **chosen: Any) -> None:
    """Run failed tasks again, by number or by filter.

    Example: mailroom task retry --code front_unavailable --since 6h --yes
    """
    from functools import partial

    from shared.db.tasks import manual_changes

    apply = partial(manual_changes.retry, accept_size=accept_size)
    change = BulkChange(verb="retry", states=("failed",), apply=apply)
    _run(change, ids, chosen, dry_run=dry_run, yes=yes)


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

    from shared.db.tasks import manual_changes

    reason = clean(reason.strip(), LONGEST_REASON)
    if not reason:
        raise click.UsageError("--reason must say something")
    apply = partial(manual_changes.discard, reason=reason)
    change = BulkChange(verb="discard", states=("failed", "ready", "queued"), apply=apply)
    _run(change, ids, chosen, dry_run=dry_run, yes=yes)


def _run(change: BulkChange, ids: tuple[int, ...], chosen: dict[str, Any], *, dry_run: bool, yes: bool) -> None:
    """Show the plan, ask, and change the tasks in batches.

    Raises UsageError without ids or a filter, and NothingMatched without such a task. Exits with PARTLY_FAILED when
    some tasks changed their state meanwhile.
    """
    with database() as conn:
        tasks = filter_from(conn, chosen, ids or None)
        if tasks.is_open:
            raise click.UsageError("name tasks or narrow them: --state, --code, --kind, --tenant or --since")
        total = _show_plan(conn, change, tasks)
        if not dry_run:
            confirm(f"{change.verb} {_tasks(total)}?", yes=yes)
            _report(change.verb, _apply(conn, change, tasks, total), total)


def _show_plan(conn: Connection, change: BulkChange, tasks: Filter) -> int:
    """Show how many tasks of each group can be changed, and return their total."""
    from shared.db.reading.tasks import count_groups

    plan = count_groups(conn, tasks, change.states)
    total = sum(group.count for group in plan)
    if not total:
        raise NothingMatched(f"no task to {change.verb}: no matching task is {' or '.join(change.states)}")
    say(f"{change.verb} {_tasks(total)}:")
    for group in plan[:MAX_GROUPS]:
        parts = (group.kind, group.state, group.code, group.tenant)
        say(f"  {group.count:>8,}  {'  '.join(part for part in parts if part)}")
    if len(plan) > MAX_GROUPS:
        say(f"  and {len(plan) - MAX_GROUPS} smaller groups")
    return total


def _apply(conn: Connection, change: BulkChange, tasks: Filter, total: int) -> int:
    from shared.db.reading.tasks import id_batches

    changed, who = 0, operator_name()
    with count_progress(change.verb, total) as advance:
        for batch in id_batches(conn, tasks, change.states, size=BATCH_SIZE):
            with conn.transaction():
                changed += len(change.apply(conn, batch, who=who))
            advance(len(batch))
    return changed


def _report(verb: str, changed: int, total: int) -> None:
    click.echo(f"{verb}: {changed:,} of {total:,}")
    if changed < total:
        say("the others moved on meanwhile or cannot be run again; `mailroom task list` shows where they stand")
        click.get_current_context().exit(PARTLY_FAILED)


def _tasks(count: int) -> str:
    return f"{count:,} task{'s' if count != 1 else ''}"


def _print(found: TaskDetails) -> None:
    from rich.text import Text

    task, page = found.task, stdout_page()
    page.print(Text.assemble((f"task {task.id}", "bold"), f"  {task.kind}  ", (task.state, state_style(task.state))))
    pairs = [
        ("event", task.event),
        ("tenant", task.tenant),
        ("code", task.code),
        ("detail", task.detail),
        ("due", _due(task) if task.state in {"ready", "queued", "parked"} else None),
        ("attempts", task.attempts),
    ]
    print_pairs((name, value) for name, value in pairs if value is not None)
    for attempt in found.attempts:
        page.print(_attempt_line(attempt))


def _due(task: TaskSummary) -> str:
    return format_time(task.due_at) if task.due_at else "when another task of its conversation releases it"


def _attempt_line(attempt: AttemptView) -> Text:
    took = (attempt.ended_at - attempt.started_at).total_seconds() if attempt.ended_at else None
    parts = (
        format_time(attempt.started_at),
        attempt.outcome or "no outcome",
        attempt.code,
        "no end" if took is None else format_duration(took),
        attempt.worker,
        attempt.detail,
    )
    line = safe_text("  " + " · ".join(part for part in parts if part))
    for call in attempt.calls:
        line.append_text(call_line(call))
    return line
