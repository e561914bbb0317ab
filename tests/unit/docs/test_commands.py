"""Every command on the pages is typed by a test or has a reason why not, and each is one that exists."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner

from bench import catalogue as benchmarks
from bench.faults.catalogue import catalogue, chosen
from console.cli import main
from tests.documents import (
    MARKDOWN,
    NOT_TYPED,
    PAGES,
    ROOT,
    TYPED,
    Block,
    blocks,
    not_typed,
    text_of,
    typed_beside_a_console,
    typed_by,
    words,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SHELL = [block for page in PAGES for block in blocks(page) if block.language == "sh"]
COMMANDS = sorted({command for block in SHELL for command in block.commands})
LANGUAGES = {"sh", "text", "python", "json", "toml"}
#: What blocks with commands of Mailroom use beside.
SHELL_PROGRAMS = {"curl", "export"}
OURS = {"mailroom", "./run", "/opt/mailroom/.venv/bin/mailroom"}
#: The commands of ./run that are not those of mailroom.
SCRIPT = set(re.findall(r"^    (\w+)\) ", text_of("run").partition("case ${1-} in")[2], re.MULTILINE))
#: shellcheck's rules that a block cannot keep, because a person types it and another block goes before.
LOOSE = "SC2034,SC2086,SC2154,SC1090,SC1091,SC2164,SC2035"


def ours(command: str) -> Iterator[str]:
    """Yield each command of Mailroom in a command, with those in its `$(…)`, without redirections."""
    plain = re.sub(r" (?:[12]?>|&).*$", "", command, flags=re.DOTALL)
    if words(plain)[:1] and words(plain)[0] in OURS:
        yield plain
    for inner in re.findall(r"\$\(([^()]+)\)", command):
        if shlex.split(inner)[0] in OURS:
            yield inner


@pytest.fixture
def parse(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], int]:
    """Parse a command line down to its last word, run nothing, and return the exit code: 2 for wrong usage."""
    for name in ("token", "people.csv"):  # options that are files have to be there
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(click.Command, "invoke", lambda _, __: None)

    def parse(line: str) -> int:
        program, *rest = words(line)
        if program == "./run" and (not rest or rest[0] in SCRIPT):
            return 0
        return CliRunner().invoke(main, rest).exit_code if program in OURS else 2

    return parse


def test_each_block_is_fenced_and_names_its_language() -> None:
    indented = [page for page in PAGES if any(token.type == "code_block" for token in MARKDOWN.parse(text_of(page)))]
    assert indented == []
    unnamed = [
        f"{block.page}:{block.line}" for page in PAGES for block in blocks(page) if block.language not in LANGUAGES
    ]
    assert unnamed == []


@pytest.mark.parametrize("line", sorted({each for command in COMMANDS for each in ours(command)}))
def test_a_command_of_mailroom_exists_with_its_options(line: str, parse: Callable[[str], int]) -> None:
    assert parse(line) == 0


@pytest.mark.parametrize(
    "line",
    [
        *("mailroom stauts", "mailroom task list --status failed", "mailroom tenant connect", "./run tests"),
        *("mailroom task list --state broken", "redis-cli ping", "mailroom repair --since yesterday"),
    ],
)
def test_one_that_does_not_exist_is_found(line: str, parse: Callable[[str], int]) -> None:
    assert parse(line) == 2


def named_commands() -> Iterator[tuple[str, str]]:
    """Yield each command of Mailroom that a sentence names, with its page."""
    for page in PAGES:
        for token in MARKDOWN.parse(text_of(page)):
            for child in token.children or ():
                if child.type == "code_inline" and re.match(r"(mailroom|\./run) [a-z]", child.content):
                    yield page, child.content


@pytest.mark.parametrize(("page", "named"), sorted(set(named_commands())))
def test_a_command_named_in_a_sentence_exists(page: str, named: str) -> None:
    """A sentence names a command without some of its arguments, so only its words and options are looked up."""
    given = shlex.split(named.replace("…", "ELLIPSIS"))[1:]
    if named.startswith("./run") and given[0] in SCRIPT:
        return
    command: click.Command = main
    while isinstance(command, click.Group) and given and not given[0].startswith("-"):
        assert given[0] in command.commands, f"{page} names `{named}`"
        command = command.commands[given.pop(0)]
    options = {option for each in command.params for option in (*each.opts, *each.secondary_opts)} | {"--help"}
    assert {word.partition("=")[0] for word in given if word.startswith("--")} <= options, f"{page} names `{named}`"


@pytest.mark.parametrize("block", SHELL, ids=[f"{block.page}:{block.line}" for block in SHELL])
def test_a_block_is_typed_by_a_test_or_has_a_reason(block: Block) -> None:
    here = block in typed_beside_a_console(block.page)
    unknown = (
        set()
        if typed_by(block)
        else {
            command
            for command in block.commands
            if not not_typed(command) and not (here and (list(ours(command)) or {*words(command)[:1]} & SHELL_PROGRAMS))
        }
    )
    assert unknown == set(), "let a test type it, or say in tests/documents.py why none does"


def test_the_tests_that_type_blocks_read_them() -> None:
    for mark, test in TYPED.items():
        assert any(block.mark.startswith(mark) for block in SHELL), mark
        assert "marked(" in (ROOT / test).read_text(encoding="utf-8"), test


def test_each_reason_is_needed() -> None:
    reasons = {not_typed(command) for command in COMMANDS}
    assert set(NOT_TYPED.values()) == reasons - {""}


def test_the_benchmarks_on_the_pages_exist() -> None:
    named = {words(command)[2] for command in COMMANDS if command.startswith("./run bench")}
    assert named == {*benchmarks.catalogue(), benchmarks.ALL}


def test_the_faults_on_the_pages_exist() -> None:
    named = [words(command)[2:] for command in COMMANDS if command.startswith("./run faults")]
    assert named
    for given in named:
        chosen([name for name in given if not name.startswith("--")] or catalogue())


def test_each_block_is_clean_shell(tmp_path: Path) -> None:
    files = []
    for number, block in enumerate(SHELL):
        files.append(tmp_path / f"{number:03}-{block.page.replace('/', '-')}-{block.line}.sh")
        files[-1].write_text(block.text, encoding="utf-8")
    shellcheck = Path(sys.executable).with_name("shellcheck")
    ended = subprocess.run(
        [shellcheck, "-s", "bash", "-S", "warning", "-e", LOOSE, *files], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, "")
