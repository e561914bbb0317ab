"""Print one event for a person: its head, its parts, and its timeline."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from rich.text import Text

from console.cli.output import call_line, safe_text, state_style, stdout_page, text_grid
from console.times import format_duration, format_time

# The wording of details whose value alone says too little.
WORDING = {
    "users": "users {}",
    "recipients": "of {} recipients",
    "size": "{:,} bytes",
    "who": "by {}",
    "delivery": "as {}",
    "worker": "by {}",
    "version": "version {}",
}
# Details that stand elsewhere on the line, or are of no use to a person.
OMITTED = {"at", "what", "calls", "ended_at", "outcome", "task", "epoch"}


def print_event(event: dict[str, Any]) -> None:
    """Print the document of `event_document`."""
    page = stdout_page()
    page.print(_head(event))
    for title, rows in (
        ("recipients", [(r["role"], r["handle"], r["reason"]) for r in event["recipients"]]),
        ("files", [(a["state"], a["filename"], _size(a["size"])) for a in event["attachments"]]),
        ("tasks", [(t["state"], f"{t['id']} {t['kind']}", _attempts(t)) for t in event["tasks"]]),
    ):
        if rows:
            page.print(Text(f"\n{title}", "dim"))
            page.print(text_grid([Text(""), *(safe_text(cell, state_style(cell)) for cell in row)] for row in rows))
    page.print(Text("\ntimeline (UTC)", "dim"))
    page.print(text_grid(_timeline(event["timeline"])))


def _head(event: dict[str, Any]) -> Text:
    cause = f": {event['cause']}" if event["cause"] else ""
    head = Text.assemble(
        safe_text(event["id"], "bold"),
        "  ",
        safe_text(event["type"]),
        "  ",
        (event["state"], state_style(event["state"])),
        safe_text(cause),
    )
    places = (event["tenant"] or f"{event['company_id']} (no tenant)", event["conversation_id"], event["message_id"])
    head.append("\n").append_text(safe_text("  ".join(place for place in places if place), "dim"))
    if action := event["action"]:
        head.append("\n").append_text(safe_text(f"action {action['kind']}: {action['state']}, {action['reason']}"))
        for each in event["action_waits_for"]:
            head.append("\n").append_text(safe_text(f"  {each}"))
    return head


def _size(size: int | None) -> str:
    return "" if size is None else f"{size:,} bytes"


def _attempts(task: dict[str, Any]) -> str:
    attempts = f"{task['attempts']} attempt" + ("s" if task["attempts"] != 1 else "")
    return attempts + (f", {task['code']}" if task["code"] else "")


def _timeline(moments: list[dict[str, Any]]) -> Iterator[list[Text]]:
    before: datetime | None = None
    for moment in moments:
        since = f"+{format_duration((moment['at'] - before).total_seconds())}" if before else ""
        before = moment["at"]
        yield [Text(f"  {format_time(before)}", "dim"), Text(since, "dim", justify="right"), _moment(moment)]


def _moment(moment: dict[str, Any]) -> Text:
    text = Text(" · ", "dim").join(_parts(moment))
    for call in moment.get("calls", ()):
        text.append_text(call_line(call))
    return text


def _parts(moment: dict[str, Any]) -> Iterator[Text]:
    omitted = OMITTED
    if moment["what"] == "attempt":
        omitted = OMITTED | {"kind"}
        yield from _attempt(moment)
    else:
        yield safe_text(moment["what"])
    yield from (_detail(name, value) for name, value in moment.items() if name not in omitted)


def _attempt(moment: dict[str, Any]) -> Iterator[Text]:
    yield safe_text(f"attempt: {moment['kind']} (task {moment['task']})")
    yield safe_text(moment["outcome"], state_style(moment["outcome"]))
    ended_at = moment.get("ended_at")
    yield safe_text(format_duration((ended_at - moment["at"]).total_seconds()) if ended_at else "no end")


def _detail(name: str, value: Any) -> Text:
    return safe_text(WORDING.get(name, "{}").format(", ".join(value) if isinstance(value, list) else value))
