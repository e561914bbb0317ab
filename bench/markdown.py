"""Tables as Markdown. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A row of titles, a line, and the rows; numbers as people read them."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def spread(values: Sequence[float]) -> str:
    """From the least to the most."""
    least, most = _cell(min(values)), _cell(max(values))
    return least if least == most else f"{least} to {most}"


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
