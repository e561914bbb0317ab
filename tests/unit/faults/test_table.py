"""The table of results that the document shows."""

from __future__ import annotations

import json
from pathlib import Path

from bench.faults.result import Result
from bench.faults.table import table

ROOT = Path(__file__).parents[3]


def test_a_result_is_a_row_with_all_its_figures() -> None:
    result = Result(name="x", load=12_000, injected=41, drain_seconds=3.0, door_under_2s=1.0, note="restarts: none")
    row = table([json.dumps(result.as_json())]).splitlines()[-1]
    assert row == "| `x` | 12,000 | 41 | 0 | 0 | 0 | 0 | 3.0 s |  | 100.00% | restarts: none |"


def test_a_broken_promise_is_seen_in_its_row() -> None:
    result = Result(name="x", load=1, injected=1, lost=2, broken=("2 lost",))
    assert "**broken: 2 lost**" in table([json.dumps(result.as_json())])


def test_the_document_shows_what_was_measured() -> None:
    measured = (ROOT / "docs" / "measured" / "faults.jsonl").read_text(encoding="utf-8")
    document = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    assert f"<!-- faults -->\n{table(measured.splitlines())}<!-- /faults -->" in document
