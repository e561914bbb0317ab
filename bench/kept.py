"""The results that are kept in the repository, one JSON object a line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.benchmark import Figures

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
FILE = PAGE.parent / "measured" / "bench.jsonl"


def keep(figures: Figures) -> None:
    """Add one result."""
    with FILE.open("a", encoding="utf-8") as file:
        file.write(json.dumps(figures) + "\n")
