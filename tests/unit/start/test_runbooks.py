"""The runbooks have a section for each alert and failure code, and every command in them is one that exists."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
import yaml
from click.testing import CliRunner

from console.cli import main
from console.failure_texts import TEXTS
from docs.failure_codes import BEGIN, END, sections
from tests.promtool import RULES

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = (Path(__file__).parents[3] / "docs" / "runbooks.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMANDS = sorted({line for block in BLOCK.findall(PAGE) for line in block.splitlines()})
#: Of a section: its title and its text.
SECTIONS = dict(re.findall(r"^### (.+)\n((?:(?!^##).*\n)*)", PAGE, re.MULTILINE))


@pytest.fixture
def parse(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], int]:
    """Parse a command line down to its last word, run nothing, and return the exit code: 2 for wrong usage."""
    monkeypatch.setattr(click.Command, "invoke", lambda _, __: None)

    def parse(line: str) -> int:
        program, *words = shlex.split(line)
        return CliRunner().invoke(main, words).exit_code if program == "mailroom" else 2

    return parse


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_exists_with_its_options(line: str, parse: Callable[[str], int]) -> None:
    assert parse(line) == 0


@pytest.mark.parametrize(
    "line",
    [
        *("mailroom stauts", "mailroom task list --status failed", "mailroom tenant connect"),
        *("mailroom task list --state broken", "redis-cli ping", "mailroom repair --since yesterday"),
    ],
)
def test_one_that_does_not_exist_is_found(line: str, parse: Callable[[str], int]) -> None:
    assert parse(line) == 2


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
