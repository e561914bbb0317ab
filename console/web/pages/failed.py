"""Show failures: their groups, tasks by filter words, and one task with its attempts; retry, edit or discard them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from flask import abort, flash, redirect, request, url_for

from console.failure_texts import text_of
from console.filter_words import GROUP_LIST, TASK_LIST, is_number
from console.operations import tasks as operations
from console.web.pages.shell import (
    PAGE_SIZE,
    address,
    back,
    current_actor,
    list_values,
    older_address,
    page,
    read_filter,
    reading,
    render,
)
from console.web.problems import problem_page
from console.web.resources import current_resources
from shared.actions import validated_action
from shared.db.reading import groups, tasks
from shared.db.tasks.failure_groups import Decision
from shared.errors import InvalidPolicy
from shared.models import GROUP_STATES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from flask.typing import ResponseReturnValue

    from console.web.pages.shell import Listing
    from shared.db.reading.tasks import TaskSummary

IGNORED_FOR = {"1d": timedelta(days=1), "7d": timedelta(days=7), "ever": None}


@page("/failed")
def failed_page() -> ResponseReturnValue:
    """List the groups of failures that need somebody, the latest first."""
    with reading() as conn:
        listing = read_filter(conn, GROUP_LIST)
        rows = groups.latest(conn, listing.filter, limit=PAGE_SIZE, before=_seen_before())
    return render(
        "pages/failed.html",
        title="Failed",
        section="Failed",
        rows=rows,
        text_of=text_of,
        # The tasks of all these groups have the same filter but for the state of the groups.
        task_words=replace(listing.words, state="failed").text(),
        older=address(seen_before=rows[-1].last_seen.isoformat(), before=rows[-1].id)
        if len(rows) == PAGE_SIZE
        else None,
        **list_values(listing),
    )


@page("/tasks")
def tasks_page() -> ResponseReturnValue:
    """List the newest tasks that match; an id alone leads to its task or event."""
    with reading() as conn:
        listing = read_filter(conn, TASK_LIST)
        group = groups.get(conn, listing.filter.group) if listing.filter.group else None
        rows = tasks.latest(conn, listing.filter, limit=PAGE_SIZE)
    if name := listing.words.name:
        found = (
            url_for("pages.task_page", number=int(name)) if is_number(name) else url_for("pages.events_page", q=name)
        )
        return redirect(found, 303)
    return render(
        "pages/tasks.html",
        title="Tasks",
        section="Failed",
        rows=rows,
        retryable={row.id for row in rows if _is_possible("retry", row)},
        changeable=_count_changeable(listing, rows),
        group=group,
        text=text_of(group.code) if group else None,
        ignored_for=IGNORED_FOR,
        older=older_address([row.id for row in rows]),
        **list_values(listing),
    )


def _is_possible(verb: str, task: TaskSummary) -> bool:
    return any(each.verb == verb and each.is_possible for each in operations.possible_changes(task))


def _count_changeable(listing: Listing, rows: list[TaskSummary]) -> int | None:
    """Return the number of tasks that match and can be changed; None where nobody asks, or where it takes long."""
    actor = current_actor()
    if not rows or listing.words.is_open or not (actor.may("retry") or actor.may("discard")):
        return None
    counted = current_resources().lookups.changeable_tasks.get((listing.words, listing.filter.tenant_id))
    here = sum(_is_possible("retry", row) or _is_possible("discard", row) for row in rows)
    return None if counted is None else max(counted, here)


@page("/tasks/<int:number>")
def task_page(number: int) -> ResponseReturnValue:
    """Show a task and its attempts, the latest first."""
    with reading() as conn:
        found = tasks.task_details(conn, number)
    if found is None:
        abort(404)
    return render(
        "pages/task.html",
        title=f"Task {number}",
        section="Failed",
        task=found.task,
        action=found.action,
        delivery=found.delivery,
        attempts=found.attempts[::-1],
        text=text_of(found.task.code),
        changes={each.verb: each for each in operations.possible_changes(found.task, found.action)},
    )


@page("/tasks/<int:number>/action", verb="edit_action")
def confirm_action(number: int) -> ResponseReturnValue:
    """Show which action the task would apply instead of its own, and ask; nothing is changed yet."""
    with reading() as conn:
        found = tasks.task_details(conn, number)
    if found is None:
        abort(404)
    place = url_for("pages.task_page", number=number)
    try:
        kind = validated_action(_chosen_action(request.args))
    except InvalidPolicy as problem:
        return problem_page(422, "That is no action", f"{problem}.", again=place)
    changes = {each.verb: each for each in operations.possible_changes(found.task, found.action)}
    return render(
        "pages/action.html",
        title=f"Action of task {number}",
        section="Failed",
        task=found.task,
        action=found.action,
        kind=kind,
        effect_of=operations.effect_of_action,
        why_not=changes["edit_action"].why_not if "edit_action" in changes else "it applies no action",
    )


@page("/tasks/<int:number>/action", verb="edit_action", methods=("POST",))
def edit_action(number: int) -> ResponseReturnValue:
    """Have the task apply another action, and try it again."""
    place = url_for("pages.task_page", number=number)

    def edit() -> str:
        kind = request.form.get("action", "")
        shown = operations.ActionEdit(was=request.form.get("was"), attempts=request.form.get("attempts", type=int))
        operations.edit_action(current_resources().pool.run, current_actor(), number, action=kind, edit=shown)
        return f"Task {number} applies {kind} now."

    try:
        return _changed(edit, place)
    except (InvalidPolicy, operations.SameAction) as problem:
        return problem_page(422, "The action stays as it is", f"{problem}.", again=place)


@page("/tasks/<int:number>/retry", verb="retry", methods=("POST",))
def retry_task(number: int) -> ResponseReturnValue:
    """Make a failed task due again."""

    def retry() -> str:
        operations.retry_task(
            current_resources().pool.run,
            current_actor(),
            number,
            attempts=request.form.get("attempts", type=int),
            accept_size="accept_size" in request.form,
        )
        return f"Task {number} is tried again."

    return _changed(retry, url_for("pages.task_page", number=number))


@page("/tasks/<int:number>/discard", verb="discard", methods=("POST",))
def discard_task(number: int) -> ResponseReturnValue:
    """Give a task up, with the reason."""

    def discard() -> str:
        operations.discard_task(
            current_resources().pool.run,
            current_actor(),
            number,
            reason=request.form.get("reason", ""),
            attempts=request.form.get("attempts", type=int),
        )
        return f"Task {number} is discarded."

    return _changed(discard, url_for("pages.task_page", number=number))


@page("/groups/<int:number>/decide", verb="triage", methods=("POST",))
def decide_group(number: int) -> ResponseReturnValue:
    """Acknowledge, ignore, fix or reopen a group of failures."""
    state = request.form.get("state", "")
    if state not in GROUP_STATES:
        abort(422)

    def decide() -> str:
        decision = Decision(
            state=state,
            who=current_actor().name,
            note=request.form.get("note", ""),
            ignored_for=IGNORED_FOR.get(request.form.get("ignored_for", "ever")),
        )
        operations.decide_group(current_resources().pool.run, current_actor(), number, decision)
        return f"Group {number} is {state} now."

    return _changed(decide, url_for("pages.tasks_page", q=f"group:{number}"))


def _chosen_action(form: Mapping[str, str]) -> str:
    """Return the action of the form: one of its choices, or the tag whose id was typed."""
    kind = form.get("action", "")
    return f"tag:{form.get('tag', '').strip()}" if kind == "tag" else kind


def _changed(change: Callable[[], str], place: str) -> ResponseReturnValue:
    """Make the change, and return to the page it was asked for on, or say what is in the way."""
    try:
        flash(change())
    except operations.MovedOn as refusal:
        return problem_page(409, "That changed meanwhile", f"{refusal}.", again=place)
    except (operations.UnknownTask, operations.UnknownGroup):
        abort(404)
    except operations.ReasonMissing as refusal:
        return problem_page(422, "The reason is missing", f"{refusal}.", again=place)
    return back(place, anchor=request.form.get("row", ""))


def _seen_before() -> tuple[datetime, int] | None:
    """Return the place in the list after which the page begins."""
    number = request.args.get("before", type=int)
    try:
        moment = datetime.fromisoformat(request.args.get("seen_before", ""))
    except ValueError:
        return None
    return None if number is None or moment.tzinfo is None else (moment, number)
