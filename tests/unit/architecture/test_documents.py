"""The documents name files, links, versions and tests that exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.documents import MARKDOWN, PAGES, ROOT, text_of

DECISIONS = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
FOLDERS = "ingest|workers|shared|console|sandbox|bench|tests|deploy|docs"
NAMED_PATH = re.compile(rf"`((?:{FOLDERS})/[^`\s]*)`")
LINK = re.compile(r"\]\((?!https?:)([^)\s]*)\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
#: Placeholders for a name that the reader chooses.
EXAMPLES = re.compile(r"NAME|NNNN|…|\*|\{")


@pytest.mark.parametrize("page", PAGES)
def test_a_page_names_files_that_exist(page: str) -> None:
    named = {path for path in NAMED_PATH.findall(text_of(page)) if not EXAMPLES.search(path)}
    assert sorted(path for path in named if not (ROOT / path.partition("::")[0]).exists()) == []


@pytest.mark.parametrize("page", PAGES)
def test_a_link_leads_somewhere(page: str) -> None:
    assert [link for link in LINK.findall(text_of(page)) if not leads_somewhere(ROOT / page, link)] == []


def leads_somewhere(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = (page.parent / path) if path else page
    return target.is_file() and (not anchor or anchor in anchors(target.read_text(encoding="utf-8")))


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in HEADING.findall(text)}


def test_an_anchor_is_a_heading_in_lower_case() -> None:
    assert anchors("# From bytes to the row\n## What it's for\n") == {"from-bytes-to-the-row", "what-its-for"}


def sentences(page: str) -> set[str]:
    """Return the sentences of a page with seven words or more."""
    texts = [token.content.replace("\n", " ") for token in MARKDOWN.parse(text_of(page)) if token.type == "inline"]
    return {each for text in texts for each in re.split(r"(?<=[.!?:])\s+", text) if len(each.split()) >= 7}


def test_no_sentence_of_the_readme_stands_on_another_page() -> None:
    mine = sentences("README.md")
    assert len(mine) > 3
    assert {page: same for page in PAGES if page != "README.md" and (same := mine & sentences(page))} == {}


def test_the_index_names_every_decision_in_order() -> None:
    index = text_of("docs/decisions/README.md")
    entries = re.findall(r"^(\d+)\. \[(.*?)\]\((.*?)\)", index, re.MULTILINE)
    assert entries == [titled(path) for path in DECISIONS]


def titled(path: Path) -> tuple[str, str, str]:
    number, _, title = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ").partition(". ")
    return number, title, path.name


@pytest.mark.parametrize("path", DECISIONS, ids=[path.name[:4] for path in DECISIONS])
def test_a_decision_has_its_parts_and_is_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert titled(path)[0] == str(int(path.name[:4]))
    assert re.search(r"^Status: (accepted, \d{4}-\d\d-\d\d|superseded by )", text, re.MULTILINE)
    assert HEADING.findall(text)[1:] == ["Context", "Decision", "Consequences"]
    assert text.count("\n") <= 35


def private_parts() -> Iterator[list[str]]:
    """Return the rows of docs/private-parts.md without the head of the table."""
    rows = [line for line in text_of("docs/private-parts.md").splitlines() if line.startswith("| ")]
    return ([cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:])


ROWS = list(private_parts())


def test_there_are_private_parts() -> None:
    assert len(ROWS) > 20


@pytest.mark.parametrize("row", ROWS, ids=[f"{row[0]}-{number}" for number, row in enumerate(ROWS)])
def test_a_private_part_names_its_version_its_file_and_a_test(row: list[str]) -> None:
    library, _, where, _, test = row
    path, _, name = test.strip("`").partition("::")
    assert (ROOT / where.strip("`")).is_file()
    assert name in functions_of(ROOT / path)
    assert library == "CPython" or library in locked()


@cache
def locked() -> set[str]:
    """Return every locked library as `name version`."""
    return {
        f"{name} {version}"
        for name, version in re.findall(r"^([\w.-]+)==([^\s;]+)", text_of("requirements.lock"), re.M)
    }


def functions_of(path: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.FunctionDef)}
