"""Shows one event to a person: what it is, its parts, and what happened when."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from rich.text import Text

from console.cli.output import call_line, columns_of, screen, shown, state_style
from console.cli.times import spoken, stamp

# How a part of a moment is said where its value alone says too little.
WORDS = {
    "users": "users {}",
    "recipients": "of {} recipients",
    "size": "{:,} bytes",
    "who": "by {}",
    "delivery": "as {}",
    "worker": "by {}",
}
# Said elsewhere on the line, or of no use to a person.
UNSAID = {"at", "what", "calls", "ended_at", "outcome", "task", "epoch"}


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
            page.print(columns_of([Text(""), *(shown(cell, state_style(cell)) for cell in row)] for row in rows))
    page.print(Text("\ntimeline (UTC)", "dim"))
    page.print(columns_of(_timeline(event["timeline"])))


def _headline(event: dict[str, Any]) -> Text:
    cause = f": {event['cause']}" if event["cause"] else ""
    line = Text.assemble(
        shown(event["id"], "bold"),
        "  ",
        shown(event["type"]),
        "  ",
        (event["state"], state_style(event["state"])),
        shown(cause),
    )
    places = (event["tenant"] or f"{event['company_id']} (no tenant)", event["conversation_id"], event["message_id"])
    line.append("\n").append_text(shown("  ".join(place for place in places if place), "dim"))
    if action := event["action"]:
        line.append("\n").append_text(shown(f"action {action['kind']}: {action['state']}, {action['reason']}"))
    return line


def _size(size: int | None) -> str:
    return "" if size is None else f"{size:,} bytes"


def _attempts(task: dict[str, Any]) -> str:
    return f"{task['attempts']} attempt{'s'[: task['attempts'] != 1]}" + (f", {task['code']}" if task["code"] else "")


def _timeline(moments: list[dict[str, Any]]) -> Iterator[list[Text]]:
    before: datetime | None = None
    for moment in moments:
        since = f"+{spoken((moment['at'] - before).total_seconds())}" if before else ""
        before = moment["at"]
        yield [Text(f"  {stamp(before)}", "dim"), Text(since, "dim", justify="right"), _told(moment)]


def _told(moment: dict[str, Any]) -> Text:
    text = Text(" · ", "dim").join(_parts(moment))
    for call in moment.get("calls", ()):
        text.append_text(call_line(call))
    return text


def _parts(moment: dict[str, Any]) -> Iterator[Text]:
    is_attempt = moment["what"] == "attempt"
    yield shown(f"attempt: {moment['kind']} (task {moment['task']})" if is_attempt else moment["what"])
    if is_attempt:
        yield shown(moment["outcome"], state_style(moment["outcome"]))
        yield shown(spoken((moment["ended_at"] - moment["at"]).total_seconds()) if "ended_at" in moment else "no end")
    for name in (name for name in moment if name not in UNSAID and not (is_attempt and name == "kind")):
        yield _part(name, moment[name])


def _part(name: str, value: Any) -> Text:
    return shown(WORDS.get(name, "{}").format(", ".join(value) if isinstance(value, list) else value))
