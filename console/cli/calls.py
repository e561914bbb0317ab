"""One call to Front as a line of a page."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from console.cli.output import shown


def call_line(call: dict[str, Any]) -> Text:
    """Method, path, status, time and the budget that was left, on a line of its own."""
    status = call.get("status") or "no answer"
    left = f", {call['budget_left']} left" if call.get("budget_left") is not None else ""
    words = shown(f"    {call.get('method')} {call.get('path')} → {status} in {call.get('ms')} ms{left}", "dim")
    return Text.assemble("\n", words)
