"""Bars as SVG, readable on white and on black. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

LINE, LEFT, WIDTH, RIGHT, TOP = 22, 230, 360, 110, 40
STYLE = "text{font:13px sans-serif;fill:#888}rect{fill:#3b82c4}line{stroke:#f59e0b;stroke-width:3}"


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One value; `limit` is what was promised, drawn as a line."""

    label: str
    value: float
    limit: float | None = None


def bars(title: str, unit: str, rows: Sequence[Bar]) -> str:
    """All on one scale that begins at zero."""
    longest = max(max(bar.value, bar.limit or 0.0) for bar in rows) or 1.0
    height = TOP + LINE * len(rows) + 10
    drawn = "".join(_bar(bar, TOP + LINE * place, WIDTH / longest, unit) for place, bar in enumerate(rows))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + RIGHT}" height="{height}">'
        f'<style>{STYLE}</style><text x="10" y="22">{escape(title)}</text>{drawn}</svg>\n'
    )


def _bar(bar: Bar, y: int, scale: float, unit: str) -> str:
    length = bar.value * scale
    at = LEFT + (bar.limit or 0.0) * scale
    limit = f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{y}" y2="{y + LINE - 4}"/>' if bar.limit else ""
    return (
        f'\n<text x="{LEFT - 8}" y="{y + 13}" text-anchor="end">{escape(bar.label)}</text>'
        f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="{LINE - 6}"/>{limit}'
        f'<text x="{LEFT + max(length, at - LEFT) + 6:.1f}" y="{y + 13}">{bar.value:g} {unit}</text>'
    )
