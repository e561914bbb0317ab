"""The page and its drawings say what the kept results say, and no figure besides."""

from __future__ import annotations

import pytest

from bench.kept import FILE, PAGE
from bench.markdown import spread, table
from bench.page import filled, newest
from bench.plots import drawings

AGAIN = "python -m bench.page writes it anew"


def test_a_table_is_markdown_with_numbers_as_people_read_them() -> None:
    assert table(["a", "b"], [["x", 1234.56], ["y", 12]]) == "| a | b |\n| --- | --- |\n| x | 1,235 |\n| y | 12 |"


@pytest.mark.parametrize(("values", "said"), [([2.0, 1.5, 3.0], "1.5 to 3"), ([1.0], "1")])
def test_values_are_said_from_the_least_to_the_most(values: list[float], said: str) -> None:
    assert spread(values) == said


def test_the_newest_result_counts() -> None:
    assert newest('{"name": "door", "at": 1}\n{"name": "flow"}\n{"name": "door", "at": 2}\n')["door"]["at"] == 2


def test_text_between_tables_stays_and_an_unknown_table_is_a_mistake() -> None:
    empty = "<!-- table: promises -->\n<!-- end -->\nbetween\n"
    page = f"before\n{empty}<!-- table: promises -->\nold\n<!-- end -->\nafter"
    new = filled(page, {})
    assert "\nbetween\n" in new
    assert "old" not in new
    assert new.startswith("before\n<!-- table: promises -->\n| measured by")
    assert new.endswith("\n<!-- end -->\nafter")
    with pytest.raises(KeyError):
        filled("<!-- table: nothing -->\n\n<!-- end -->", {})


def test_the_page_has_the_tables_of_the_kept_results() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert filled(page, newest(FILE.read_text(encoding="utf-8"))) == page, AGAIN


def test_what_is_drawn_is_what_was_kept() -> None:
    drawn = drawings(newest(FILE.read_text(encoding="utf-8")))
    assert drawn
    for name, text in drawn.items():
        assert (FILE.parent / name).read_text(encoding="utf-8") == text, AGAIN
