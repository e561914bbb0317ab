"""Prints results as the table of docs/reliability.md: `python -m bench.faults.table < docs/measured/faults.jsonl`."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

COLUMNS = (
    *("fault", "sent", "faults", "lost", "double", "ghost", "wrong token"),
    *("drained in", "longest gap", "door under 2 s", "besides"),
)
HEADER = (f"| {' | '.join(COLUMNS)} |", "|" + " --- |" * len(COLUMNS))


def table(lines: Iterable[str]) -> str:
    """A row for each result, in order; what broke a promise says so."""
    rows = [_row(json.loads(line)) for line in lines if line.strip()]
    return "\n".join([*HEADER, *rows, ""])


def _row(result: dict[str, Any]) -> str:
    cells = (
        f"`{result['name']}`",
        f"{result['load']:,}",
        f"{result['injected']:,}",
        *(str(result[failing]) for failing in ("lost", "double", "ghost", "wrong_token")),
        _seconds(result["drain_seconds"]),
        _seconds(result["longest_gap_seconds"]),
        "" if result["door_under_2s"] is None else f"{result['door_under_2s']:.2%}",
        "; ".join([result["note"], *(f"**broken: {promise}**" for promise in result["broken"])]).strip("; "),
    )
    return f"| {' | '.join(cells)} |"


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} s"


if __name__ == "__main__":
    sys.stdout.write(table(sys.stdin))
