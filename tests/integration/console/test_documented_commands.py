"""The commands on the pages are typed as they stand there: in this process, and those for curl in a shell."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from click.testing import CliRunner

from console.cli import main
from shared.db.recording.statements import add_seen_types
from tests.documents import PAGES, Block, not_typed, typed_beside_a_console, words
from tests.integration.console.api.client import token_for
from tests.integration.console.console_process import running_console
from tests.integration.console.rows import insert_event, insert_task
from tests.programs import find_program

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox.server import RunningSandbox
    from tests.integration.console.conftest import Mailroom

TYPED = {page: found for page in PAGES if (found := typed_beside_a_console(page))}
#: What the pages call things of the reader's.
TENANTS = {"Acme": "cmp_acme", "NAME": "cmp_name"}
#: How a command may end here, beside 0, and what it says then. No process runs, and few tasks failed.
ENDS = {
    "mailroom doctor": (1, "WRONG"),
    "mailroom repair": (1, "nobody_works"),  # the repair is asked for, and waits
    "mailroom task retry": (3, "no task"),
    "mailroom tenant policy NAME --undo-since": (3, "nothing to undo"),
}


@pytest.fixture
def folder(
    mailroom: Mailroom, front: RunningSandbox, conn: psycopg.Connection[Any], tmp_path: Path,
    environment: dict[str, str | None], monkeypatch: pytest.MonkeyPatch,
) -> Path:  # fmt: skip
    """A folder with the files of the pages; tenants, an event, a failed task and an endpoint are there."""
    folder = tmp_path / "reader"
    folder.mkdir()
    (folder / "people.csv").write_text("external_id,name,email\n17,Nora Lind,nora@acme.example\n")
    for name, company in TENANTS.items():
        front.front.ensure_company(company, name, f"token-of-{company}")
        token = tmp_path / company
        token.write_text(f"token-of-{company}")
        mailroom("tenant", "add", name, "--company", company, "--api-token-file", token)
    insert_task(conn, insert_event(conn))
    add_seen_types(conn, {"inbound_received"})
    mailroom("endpoint", "add", "NAME", "https://app.example.com/name")
    mailroom("endpoint", "hold", "NAME")
    environment |= {"FRONT_CLIENT_ID": "a-client", "FRONT_CLIENT_SECRET": "a-client-secret"}
    monkeypatch.chdir(folder)
    return folder


def in_this_process(command: str, environment: Mapping[str, str | None]) -> None:
    """Run a command of Mailroom, and answer yes where it asks."""
    result = CliRunner().invoke(main, words(command)[1:], env=environment, input="y\n")
    if result.exit_code:
        ends = [end for start, end in ENDS.items() if command.startswith(start)]
        assert any(code == result.exit_code and said in result.output for code, said in ends), (
            f"{command}: {result.exit_code}\n{result.output}{result.exception!r}"
        )


def in_a_shell(block: Block, environment: Mapping[str, str], places: Mapping[str, str]) -> None:
    """Type a block into a shell that stops at the first failure."""
    text = block.text
    for sample, place in places.items():
        text = text.replace(sample, place)
    curl = 'curl() { command curl --fail-with-body --silent --show-error --max-time 60 "$@"; }\n'
    ended = subprocess.run(
        ["bash", "-euc", curl + text],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, f"{block.page}:{block.line}\n{ended.stdout}{ended.stderr}"


def needs_a_shell(block: Block) -> bool:
    """Whether a block has more than commands of Mailroom, apart from those that no test types."""
    return any(shlex.split(command)[0] != "mailroom" for command in block.commands if not not_typed(command))


@pytest.mark.parametrize("page", [page for page in TYPED if not all(map(needs_a_shell, TYPED[page]))])
def test_each_command_on_a_page_works(page: str, folder: Path, environment: dict[str, str | None]) -> None:
    commands = [command for block in TYPED[page] if not needs_a_shell(block) for command in block.commands]
    for command in dict.fromkeys(commands):
        if not not_typed(command):
            in_this_process(command, environment)


def test_the_commands_for_curl_and_from_elsewhere_work(
    folder: Path, mailroom: Mailroom, web_environment: dict[str, str], tmp_path: Path, conn: psycopg.Connection[Any]
) -> None:
    find_program("curl", package="curl")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    shell = web_environment | {"PATH": path, "HOME": str(tmp_path)}
    mailroom("tenant", "add", "Customer Ltd", "--company", "cmp_ltd")
    (tmp_path / "mailroom-token").write_text(token_for(mailroom, "from-elsewhere", "--scope", "write"))
    blocks = [block for page in TYPED for block in TYPED[page] if needs_a_shell(block)]
    assert {block.page for block in blocks} == {"docs/api.md", "docs/host.md"}
    with running_console(tmp_path / "console.log", web_environment) as console:
        number = mailroom.json("tenant", "show", "Customer Ltd")["id"]
        places = {"http://localhost:8081": console.url, "https://console.your.host": console.url}
        places |= {"/tenants/1/": f"/tenants/{number}/", "wait=20": "wait=0"}
        for block in blocks:
            in_a_shell(block, shell, places)
    assert conn.execute("SELECT count(*) FROM users WHERE external_id = '17'").fetchone() == (1,)
