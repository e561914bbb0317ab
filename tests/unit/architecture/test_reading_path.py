"""The lists of modules in docs/architecture.md that a reader opens to follow a delivery stay short."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PRODUCT = ("ingest", "workers", "shared", "console")
MOST = {"modules-to-row": 20, "modules-to-archived": 40}
#: 190 before the console had pages for people who log in, with their accounts, rights, jobs and figures.
MOST_OF_ALL = 331
MODULE = re.compile(r"`([^`\s]+\.py)`")


def listed(mark: str) -> list[str]:
    """Return the modules between the marks, in the page's order."""
    block = re.search(f"^<!-- {mark} -->\n(.*?)^<!-- /{mark} -->$", PAGE, re.MULTILINE | re.DOTALL)
    assert block, f"docs/architecture.md has no {mark}"
    return MODULE.findall(block[1])


@pytest.mark.parametrize("mark", MOST)
def test_a_list_names_modules_of_the_product_once(mark: str) -> None:
    modules = listed(mark)
    assert modules
    assert [each for each in modules if not (ROOT / each).is_file() or each.split("/")[0] not in PRODUCT] == []
    assert len(set(modules)) == len(modules)


@pytest.mark.parametrize(("mark", "most"), MOST.items())
def test_a_list_is_short(mark: str, most: int) -> None:
    assert len(listed(mark)) <= most


def test_the_way_to_the_archived_conversation_leads_through_the_row() -> None:
    assert set(listed("modules-to-row")) < set(listed("modules-to-archived"))


def test_the_number_of_product_modules_is_bounded() -> None:
    modules = [path for folder in PRODUCT for path in (ROOT / folder).rglob("*.py")]
    assert len(modules) <= MOST_OF_ALL
