"""`python -m bench.page`: writes the kept results into docs: tables into the page, drawings beside it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from bench.kept import FILE, PAGE
from bench.plots import drawings
from bench.tables import tables

if TYPE_CHECKING:
    from bench.benchmark import Figures

PLACE = re.compile(r"(<!-- table: (\w+) -->\n)(?:(?!<!-- end -->)[^\n]*\n)*(<!-- end -->)")


def newest(text: str) -> dict[str, Figures]:
    """The newest kept result of each benchmark."""
    return {figures["name"]: figures for figures in map(json.loads, text.splitlines())}


def filled(page: str, kept: dict[str, Figures]) -> str:
    """The page with each table that it names. Raises KeyError for one that there is not."""
    made = tables(kept)
    return PLACE.sub(lambda found: f"{found[1]}{made[found[2]]}\n{found[3]}", page)


def write() -> None:
    """Write all of them."""
    kept = newest(FILE.read_text(encoding="utf-8"))
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), kept), encoding="utf-8")
    for name, drawing in drawings(kept).items():
        (FILE.parent / name).write_text(drawing, encoding="utf-8")


if __name__ == "__main__":
    write()
