"""Changes many tasks: tells the plan, asks, goes in batches, tells what came of it."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import click

from console.cli.commands import PARTLY_FAILED, NothingMatched
from console.cli.output import progress, say
from shared.db.core.pool import Connection
from shared.db.reading.filters import Filter
from shared.db.reading.tasks import TaskGroup, count_groups, id_batches

BATCH = 200
GROUPS_SHOWN = 12


class Apply(Protocol):
    """Changes these tasks where their state still allows it, and gives the ids it changed."""

    def __call__(self, conn: Connection, task_ids: Sequence[int], /, *, who: str) -> list[int]: ...


@dataclass(frozen=True, kw_only=True)
class Change:
    """What is to be done, and to tasks in which states it can be."""

    verb: str
    states: tuple[str, ...]
    apply: Apply


def run(conn: Connection, change: Change, wanted: Filter, *, dry_run: bool, yes: bool) -> None:
    """Do it after asking. Raises NothingMatched; exits with PARTLY_FAILED when some tasks had moved on."""
    plan = count_groups(conn, wanted, change.states)
    total = sum(group.count for group in plan)
    if not total:
        raise NothingMatched(f"no task to {change.verb}: none that was asked for is {' or '.join(change.states)}")
    _tell(change.verb, total, plan)
    if dry_run:
        return
    ask(f"{change.verb} {_tasks(total)}?", yes=yes)
    changed = _apply(conn, change, wanted, total)
    click.echo(f"{change.verb}: {changed:,} of {total:,}")
    if changed < total:
        say("the others moved on meanwhile or cannot be run again; `mailroom task list` shows where they stand")
        click.get_current_context().exit(PARTLY_FAILED)


def _apply(conn: Connection, change: Change, wanted: Filter, total: int) -> int:
    changed, who = 0, getpass.getuser()
    with progress(change.verb, total) as advance:
        for batch in id_batches(conn, wanted, change.states, size=BATCH):
            with conn.transaction():
                changed += len(change.apply(conn, batch, who=who))
            advance(len(batch))
    return changed


def _tell(verb: str, total: int, plan: Sequence[TaskGroup]) -> None:
    say(f"{verb} {_tasks(total)}:")
    for group in plan[:GROUPS_SHOWN]:
        parts = (group.kind, group.state, group.code, group.tenant)
        say(f"  {group.count:>8,}  {'  '.join(part for part in parts if part)}")
    if len(plan) > GROUPS_SHOWN:
        say(f"  and {len(plan) - GROUPS_SHOWN} smaller groups")


def _tasks(count: int) -> str:
    return f"{count:,} task{'s' if count != 1 else ''}"


def ask(question: str, *, yes: bool) -> None:
    """Go on if a person agrees, or did so beforehand."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("nobody can be asked here: add --yes, or --dry-run to only see the plan")
    click.confirm(question, abort=True, err=True)
