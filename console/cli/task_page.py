"""Shows one task to a person: how it stands, and each attempt with its calls to Front."""

from __future__ import annotations

from rich.text import Text

from console.cli.calls import call_line
from console.cli.output import print_facts, screen, shown, state_style
from console.cli.times import spoken, stamp
from shared.db.reading.event import AttemptRow
from shared.db.reading.tasks import ListedTask, WholeTask


def print_task(found: WholeTask) -> None:
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


def _due(task: ListedTask) -> str:
    return stamp(task.due_at) if task.due_at else "when another task of its conversation releases it"


def _attempt(attempt: AttemptRow) -> Text:
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
