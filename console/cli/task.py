"""`mailroom task`: list and show the tasks behind events; retry, edit or discard them one by one or in bulk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from console.cli.backend import backend
from console.cli.commands import NothingMatched
from console.cli.options import (
    csv_option,
    dry_run_option,
    filter_options,
    json_option,
    limit_option,
    selection_from,
    yes_option,
)
from console.cli.output import (
    call_line,
    confirm,
    print_json,
    print_pairs,
    print_rows,
    print_table,
    safe_text,
    say,
    say_if_empty,
    state_style,
    stdout_page,
)
from console.filter_words import GROUP_LIST, TASK_LIST
from console.times import format_duration, format_short_time, format_time

if TYPE_CHECKING:
    from rich.text import Text

    from console.cli.backend import Backend
    from shared.db.jobs import Verb
    from shared.db.reading.attempts import AttemptView
    from shared.db.reading.tasks import TaskDetails, TaskGroup, TaskSummary

NO_ACTION = "it applies no action"
MAX_GROUPS = 12  # groups of the plan that are shown

ids_argument = click.argument("ids", type=int, nargs=-1, metavar="[TASK]…")


@click.group()
def task() -> None:
    """List tasks, look at one, retry, edit or discard."""


@task.command("list")
@filter_options(TASK_LIST)
@limit_option
@json_option
@csv_option
def list_(limit: int, as_json: bool, as_csv: bool, **chosen: Any) -> None:
    """List the newest tasks.

    Example: mailroom task list --state failed --code front_unavailable
    """
    from shared.db.reading.tasks import TaskSummary

    with backend() as mailroom:
        found = mailroom.list_tasks(selection_from(chosen, TASK_LIST), limit=limit)
    if print_rows(TaskSummary, found, as_json=as_json, as_csv=as_csv):
        return
    columns = ("task", "made (UTC)", "kind", "state", "code", "attempts", "tenant", "event")
    rows = [
        (t.id, format_short_time(t.created_at), t.kind, t.state, t.code, t.attempts, t.tenant, t.event) for t in found
    ]
    print_table(columns, rows, right=("task", "attempts"), unwrapped=("task", "made (UTC)", "state", "event"))
    say_if_empty(found, "such tasks")


@task.command()
@filter_options(GROUP_LIST)
@limit_option
@json_option
@csv_option
def groups(limit: int, as_json: bool, as_csv: bool, **chosen: Any) -> None:
    """List the groups of failures, the one that failed last first; without --state, those that need somebody.

    Example: mailroom task groups --tenant Acme --since 1d
    """
    from console.remedies import capped
    from shared.db.reading.groups import FailureGroup

    with backend() as mailroom:
        found = mailroom.list_groups(selection_from(chosen, GROUP_LIST), limit=limit)
    if print_rows(FailureGroup, found, as_json=as_json, as_csv=as_csv):
        return
    columns = ("group", "tasks", "kind", "code", "tenant", "state", "last (UTC)")
    rows = [(g.id, capped(g.failed), g.kind, g.code, g.tenant, g.state, format_short_time(g.last_seen)) for g in found]
    print_table(columns, rows, right=("group", "tasks"), unwrapped=("group", "state", "last (UTC)"))
    say_if_empty(found, "such groups")


@task.command()
@click.argument("number", type=int, metavar="TASK")
@json_option
def show(number: int, as_json: bool) -> None:
    """Show one task and its attempts."""
    with backend() as mailroom:
        found = mailroom.task(number)
    if found is None:
        raise NothingMatched(f"there is no task {number}; `mailroom task list` shows the newest")
    if as_json:
        print_json(found)
    else:
        _print(found)


@task.command()
@ids_argument
@filter_options(TASK_LIST)
@click.option(
    "--accept-size", is_flag=True, help="Take a file also when it has another size than its message announced."
)
@dry_run_option
@yes_option
def retry(ids: tuple[int, ...], accept_size: bool, dry_run: bool, yes: bool, **chosen: Any) -> None:
    """Run failed tasks again, by number or by filter.

    Example: mailroom task retry --code front_unavailable --since 6h --yes
    """
    _run("retry", ids, chosen, Change(dry_run=dry_run, yes=yes, accept_size=accept_size))


@task.command()
@ids_argument
@filter_options(TASK_LIST)
@click.option("--reason", required=True, help="Why; it stays in the event's timeline.")
@dry_run_option
@yes_option
def discard(ids: tuple[int, ...], reason: str, dry_run: bool, yes: bool, **chosen: Any) -> None:
    """Give up failed or waiting tasks, by number or by filter.

    Example: mailroom task discard 4711 --reason "mail was a test" --yes
    """
    if not reason.strip():
        raise click.UsageError("--reason must say something")
    _run("discard", ids, chosen, Change(dry_run=dry_run, yes=yes, reason=reason))


@task.command()
@click.argument("number", type=int, metavar="TASK")
@click.option("--action", required=True, metavar="ACTION", help="none, archive, trash or tag:TAG_ID.")
@dry_run_option
@yes_option
def edit(number: int, action: str, dry_run: bool, yes: bool) -> None:
    """Have a failed or waiting task apply another action, and try it again.

    Never once Front has, or may have, the first one. Example: mailroom task edit 4711 --action archive
    """
    from console.operations.tasks import effect_of_action, possible_changes
    from shared.actions import validated_action

    validated_action(action)
    with backend() as mailroom:
        found = mailroom.task(number)
        if found is None:
            raise NothingMatched(f"there is no task {number}; `mailroom task list` shows the newest")
        why_not = next(
            (each.why_not for each in possible_changes(found.task, found.action) if each.verb == "edit_action"),
            NO_ACTION,
        )
        if found.action is None or why_not:
            raise click.ClickException(f"the action of task {number} stays as it is: {why_not}")
        say(f"  - {found.action.kind}\n  + {action}\n  {effect_of_action(action)}")
        if dry_run:
            return
        confirm(f"change the action of task {number}, and try it again?", yes=yes)
        mailroom.edit_action(number, action, was=found.action.kind, attempts=found.task.attempts)
    say(f"task {number} applies {action} now; `mailroom task show {number}` shows how far it is")


@dataclass(frozen=True, kw_only=True)
class Change:
    """The options of a change of many tasks."""

    dry_run: bool
    yes: bool
    reason: str = ""
    accept_size: bool = False


def _run(verb: Verb, ids: tuple[int, ...], chosen: dict[str, Any], change: Change) -> None:
    """Plan a job, show what it would change, ask, start it, and watch it.

    Raises UsageError without ids or a filter, and NothingMatched without such a task.
    """
    from console.cli.job import watch_job

    wanted = selection_from(chosen, TASK_LIST, ids)
    if wanted.is_open:
        raise click.UsageError("name tasks or narrow them, as with --state, --code, --tenant or --since")
    with backend() as mailroom:
        if change.dry_run:
            _show_plan(verb, mailroom.count_tasks(verb, wanted))
            return
        job_id = mailroom.plan_job(verb, wanted, reason=change.reason, accept_size=change.accept_size)
        with _cancelled_unless_confirmed(mailroom, job_id):
            total = _show_plan(verb, mailroom.job_groups(job_id))
            confirm(f"{verb} {_tasks(total)}?", yes=change.yes)
        mailroom.step_job(job_id, "start")
        watch_job(mailroom, job_id)


@contextmanager
def _cancelled_unless_confirmed(mailroom: Backend, job_id: int) -> Iterator[None]:
    try:
        yield
    except BaseException:
        mailroom.step_job(job_id, "cancel")
        raise


def _show_plan(verb: Verb, plan: Sequence[TaskGroup]) -> int:
    """Show which tasks a job changes, and return their number. Raises NothingMatched."""
    from shared.db.jobs import STATES

    total = sum(group.count for group in plan)
    if not total:
        raise NothingMatched(f"no task to {verb}: no matching task is {' or '.join(STATES[verb])}")
    say(f"{verb} {_tasks(total)}:")
    for group in plan[:MAX_GROUPS]:
        parts = (group.kind, group.state, group.code, group.tenant)
        say(f"  {group.count:>8,}  {'  '.join(part for part in parts if part)}")
    if len(plan) > MAX_GROUPS:
        say(f"  and {len(plan) - MAX_GROUPS} smaller groups")
    return total


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
        ("action", f"{found.action.kind}: {found.action.state}, {found.action.reason}" if found.action else None),
        ("due", _due(task) if task.state in {"ready", "queued", "parked"} else None),
        ("attempts", task.attempts),
        ("log lines", f"grep {found.delivery}" if found.delivery else None),
    ]
    print_pairs((name, value) for name, value in pairs if value is not None)
    for attempt in found.attempts[::-1]:
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
        f"version {attempt.version}" if attempt.version else None,
        attempt.detail,
    )
    line = safe_text("  " + " · ".join(part for part in parts if part))
    for call in attempt.calls:
        line.append_text(call_line(call))
    return line
