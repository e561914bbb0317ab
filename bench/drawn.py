"""Bars and lines as SVG, readable on white and on black. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LINE, LEFT, WIDTH, RIGHT, TOP, HEIGHT = 22, 230, 360, 110, 40, 180
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


def lines(title: str, unit: str, along: Sequence[float], values: Mapping[str, Sequence[float]]) -> str:
    """One line for each name over the same moments, on one scale that begins at zero."""
    last, most = along[-1] or 1.0, max(max(each) for each in values.values()) or 1.0
    bottom = TOP + HEIGHT
    points = {
        name: [
            (LEFT + at / last * WIDTH, bottom - value / most * HEIGHT) for at, value in zip(along, each, strict=True)
        ]
        for name, each in values.items()
    }
    drawn = "".join(_line(name, each, values[name][-1], unit) for name, each in points.items())
    scale = "".join(
        f'<text x="{x}" y="{bottom + 18}">{at:g} s</text>' for x, at in ((LEFT, 0.0), (LEFT + WIDTH - 40, last))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + RIGHT}" height="{bottom + 30}">'
        f"<style>{STYLE}polyline{{fill:none;stroke:#3b82c4;stroke-width:2}}</style>"
        f'<text x="10" y="22">{escape(title)}</text>{drawn}{scale}</svg>\n'
    )


def _line(name: str, points: Sequence[tuple[float, float]], last: float, unit: str) -> str:
    (_, begin), (end, until) = points[0], points[-1]
    return (
        f'\n<text x="{LEFT - 8}" y="{begin + 4:.1f}" text-anchor="end">{escape(name)}</text>'
        f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}"/>'
        f'<text x="{end + 6:.1f}" y="{until + 4:.1f}">{last:g} {unit}</text>'
    )
