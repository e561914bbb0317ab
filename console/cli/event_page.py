"""Shows one event to a person: what it is, its parts, and what happened when."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from rich.table import Table
from rich.text import Text

from console.cli.calls import call_line
from console.cli.output import screen, shown, state_style
from console.cli.times import spoken, stamp


def print_event(event: dict[str, Any]) -> None:
    """Print the document of `event_document`."""
    page = screen()
    page.print(_headline(event))
    for title, rows in (
        ("recipients", [(r["role"], r["handle"], r["reason"]) for r in event["recipients"]]),
        ("files", [(a["state"], a["filename"], _size(a["size"])) for a in event["attachments"]]),
        ("tasks", [(t["state"], f"{t['id']} {t['kind']}", _attempts(t)) for t in event["tasks"]]),
    ):
        if rows:
            page.print(Text(f"\n{title}", "dim"))
            page.print(_grid(rows))
    page.print(Text("\ntimeline (UTC)", "dim"))
    page.print(_timeline(event["timeline"]))


def _headline(event: dict[str, Any]) -> Text:
    line = Text.assemble(
        (event["id"], "bold"), f"  {event['type']}  ", (event["state"], state_style(event["state"])), _cause(event)
    )
    places = (event["tenant"] or f"{event['company_id']} (no tenant)", event["conversation_id"], event["message_id"])
    line.append("\n" + "  ".join(place for place in places if place), "dim")
    if action := event["action"]:
        line.append("\n").append_text(shown(f"action {action['kind']}: {action['state']}, {action['reason']}"))
    return line


def _cause(event: dict[str, Any]) -> str:
    return f": {event['cause']}" if event["cause"] else ""


def _grid(rows: list[tuple[str, str, str]]) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    for row in rows:
        grid.add_row(Text("  "), *(shown(cell, state_style(cell)) for cell in row))
    return grid


def _size(size: int | None) -> str:
    return "" if size is None else f"{size:,} bytes"


def _attempts(task: dict[str, Any]) -> str:
    return f"{task['attempts']} attempts" + (f", {task['code']}" if task["code"] else "")


def _timeline(moments: list[dict[str, Any]]) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    before: datetime | None = None
    for moment in moments:
        since = f"+{spoken((moment['at'] - before).total_seconds())}" if before else ""
        before = moment["at"]
        grid.add_row(Text(f"  {stamp(before)}", "dim"), Text(since, "dim", justify="right"), _told(moment))
    return grid


def _told(moment: dict[str, Any]) -> Text:
    text = shown(
        moment["what"] if moment["what"] != "attempt" else f"attempt: {moment['kind']} (task {moment['task']})"
    )
    for part in _parts(moment):
        text.append(" · ", "dim")
        text.append_text(part)
    for call in moment.get("calls", ()):
        text.append_text(call_line(call))
    return text


def _parts(moment: dict[str, Any]) -> Iterator[Text]:
    if moment["what"] == "attempt":
        yield shown(moment["outcome"], state_style(moment["outcome"]))
        if moment.get("ended_at"):
            yield shown(spoken((moment["ended_at"] - moment["at"]).total_seconds()))
    hidden = {"at", "what", "calls", "ended_at", "outcome", "task", "epoch"} | ({"kind"} if "task" in moment else set())
    for name, value in moment.items():
        if name not in hidden:
            yield shown(
                ", ".join(value) if isinstance(value, list) else f"{name} {value}" if name == "recipients" else value
            )
