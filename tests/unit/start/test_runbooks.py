"""The runbooks have a section for each alert and failure code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from console.failure_texts import TEXTS
from docs.failure_codes import BEGIN, END, sections
from tests.promtool import RULES

PAGE = (Path(__file__).parents[3] / "docs" / "runbooks.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: Of a section: its title and its text.
SECTIONS = dict(re.findall(r"^### (.+)\n((?:(?!^##).*\n)*)", PAGE, re.MULTILINE))


def test_each_alert_has_a_section_with_a_command() -> None:
    alerts = {rule["alert"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]}
    between = PAGE[PAGE.index("\n## Alerts\n") : PAGE.index("\n## Now and then\n")]
    assert set(re.findall("^### (.+)$", between, re.MULTILINE)) == alerts
    assert {name for name in alerts if not BLOCK.search(SECTIONS[name])} == set()


def test_failure_codes_are_explained_in_the_words_of_the_console() -> None:
    assert PAGE[PAGE.index(BEGIN) : PAGE.index(END) + len(END)] + "\n" == sections()
    assert set(TEXTS) <= set(SECTIONS)


@pytest.mark.parametrize("title", SECTIONS)
def test_a_title_is_a_link_of_its_own(title: str) -> None:
    assert [other.lower() for other in SECTIONS].count(title.lower()) == 1
