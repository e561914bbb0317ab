"""The Markdown pages of the project, and the blocks of code in them."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md"))
)
MARKDOWN = MarkdownIt("commonmark").enable("table")
MARK = re.compile(r"<!-- (.+?) -->\s*$")


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block of a page, without the indentation of the list around it.

    `mark` is the HTML comment just before it, "" if there is none.
    """

    page: str
    line: int
    language: str
    mark: str
    text: str

    @property
    def commands(self) -> list[str]:
        """Each command of a shell block, complete: with its continued lines and here-documents, without its comment."""
        return list(_commands(self.text))


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str) -> list[Block]:
    """Return the fenced blocks of a page, as the forge reads it."""
    found, mark = [], ""
    for token in MARKDOWN.parse(text_of(page)):
        if token.type == "fence":
            line = token.map[0] + 1 if token.map else 0
            found.append(Block(page=page, line=line, language=token.info, mark=mark, text=token.content))
        if token.type in {"html_block", "inline", "fence"}:
            comment = MARK.search(token.content) if token.type == "html_block" else None
            mark = comment[1] if comment else ""
    return found


def marked(page: str) -> dict[str, str]:
    """Return the text of each block that has a mark, by mark."""
    return {block.mark: block.text for block in blocks(page) if block.mark}


def _commands(text: str) -> Iterator[str]:
    lines = iter(text.splitlines())
    for first in lines:
        command = first
        while command.endswith("\\"):
            command = command.removesuffix("\\") + next(lines).strip()
        if here := re.search(r"<<(\w+)$", first):
            for line in lines:
                command += "\n" + line
                if line == here[1]:
                    break
        if stripped := without_comment(command):
            yield stripped


def without_comment(command: str) -> str:
    return re.sub(r"(^|\s+)#\s.*$", "", command).strip() if "\n" not in command else command


def words(command: str) -> list[str]:
    """Return the words of a command without the settings before its program, and with VALUE for each `$(…)`."""
    split = shlex.split(re.sub(r"\$\([^()]*\)", "VALUE", command).replace("…", "ELLIPSIS"))
    while split and re.match(r"^[A-Z_]+=", split[0]):
        split.pop(0)
    return split


#: Blocks that a test types into a shell, by the beginning of their mark.
TYPED = {
    "quickstart: ": "tests/acceptance/test_demo.py",
    "private app: ": "tests/integration/start/test_private_app.py",
    "deploy: compose": "tests/integration/start/test_deploy_page.py",
    "deploy: systemd": "tests/integration/start/test_deploy_page.py",
    "deploy: kubernetes": "tests/integration/start/test_deploy_page.py",
}
#: Commands that no test types, and why. Each is checked as far as that goes: see tests/unit/docs/test_commands.py.
NOT_TYPED = {
    "./run": "tests/acceptance/test_demo.py starts what it starts",
    "./run test": "this is it",
    "./run faults": "takes minutes; tests/acceptance/test_faults.py runs the short ones",
    "./run bench": "takes minutes; tests/unit/bench knows the names",
    "heroku": "needs an account there",
    "git": "needs a repository of the reader's",
    "/opt/mailroom/run": "writes to /opt",
    "docker": "needs an engine for containers",
    "kubectl": "needs a cluster",
    "systemctl": "starts services of this machine",
    "systemd-sysusers": "makes an account of this machine",
    "pip": "needs a package registry; tests/acceptance/test_host_example.py uses what it installs",
    "python app.py": "runs until it is stopped; tests/acceptance/test_host_example.py starts it",
    "mailroom repair --since 6h": "follows the workers until they are done; the tests in tests/integration/pipeline do",
    "mailroom repair --since 2h": "the same",
    "mailroom repair --since 6h --tenant Acme": "the same",
    "mailroom endpoint test": "waits for a worker, and for an answer from that address",
    "mailroom listen": "follows the feed until it is stopped; tests/integration/console/test_listen.py does",
    "mailroom forward": "needs an application that listens; tests/integration/console/test_forward.py has one",
    "mailroom sandbox send": "needs a door; tests/acceptance/test_demo.py sends",
}
#: Those of them that stand for themselves, and not for the same with more options.
WHOLE = {each for each in NOT_TYPED if each == "./run" or each.startswith("mailroom repair")}


def not_typed(command: str) -> str:
    """Return why no test types a command; "" where one does."""
    given = words(command)
    named = [" ".join(given[:length]) for length in range(1, len(given) + 1)]
    starts = [each for each in named if each in NOT_TYPED and (each == named[-1] or each not in WHOLE)]
    return NOT_TYPED[starts[-1]] if starts else ""


def typed_by(block: Block) -> str:
    """Return the test that types a block by its mark; "" if there is none."""
    return next((test for mark, test in TYPED.items() if block.mark.startswith(mark)), "")


def typed_beside_a_console(page: str) -> list[Block]:
    """Return the shell blocks of a page that tests/integration/console/test_documented_commands.py types."""
    return [
        block
        for block in blocks(page)
        if block.language == "sh" and not typed_by(block) and not all(map(not_typed, block.commands))
    ]
