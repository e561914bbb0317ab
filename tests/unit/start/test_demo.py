"""The demo prints paths that a shell takes, describes its mails, and registers an OAuth app."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from console.up.demo import MAIL, describe, shell_word
from console.up.up import demo_oauth_client, host_command
from shared.settings import Settings


@pytest.mark.parametrize(
    ("path", "typed"),
    [
        # Below the working directory
        ("here/.mailroom/a.token", ".mailroom/a.token"),
        # In another folder, with a space
        ("new comer/a.token", "'{root}/new comer/a.token'"),
    ],
)
def test_a_path_is_one_shell_word(path: str, typed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert shell_word(tmp_path / path) == typed.format(root=tmp_path)
    assert len(shlex.split(shell_word(tmp_path / path))) == 1


def test_a_mail_is_described_by_its_recipients_and_files() -> None:
    order = {"type": "inbound_received", **MAIL[0]}
    assert describe(order) == "inbound_received  to Ines@harbour.example, partner@quay.example  files: 2"


def test_an_app_is_made_when_none_is_set() -> None:
    made = demo_oauth_client(Settings(front_client_id="", front_client_secret=""))
    assert (set(made), all(made.values())) == ({"FRONT_CLIENT_ID", "FRONT_CLIENT_SECRET"}, True)


def test_an_app_without_a_secret_is_replaced() -> None:
    assert len(demo_oauth_client(Settings(front_client_id="mine", front_client_secret=""))) == 2


def test_a_configured_app_is_used() -> None:
    assert demo_oauth_client(Settings(front_client_id="mine", front_client_secret="secret")) == {}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with the example of a host application."""
    file = tmp_path / "examples" / "host" / "app.py"
    file.parent.mkdir(parents=True)
    file.touch()
    return tmp_path


def test_the_host_application_has_a_port_and_a_folder_of_its_own(root: Path) -> None:
    command = host_command(root, Path("/my mail"), Settings(demo_host_port=9))
    assert command == "python examples/host/app.py --port 9 --folder '/my mail/host'"


def test_without_the_examples_the_demo_has_no_host_application(tmp_path: Path) -> None:
    assert host_command(tmp_path, tmp_path, Settings()) is None


@pytest.mark.parametrize(("networks", "is_started"), [("10.0.0.0/8", False), ("10.0.0.0/8,127.0.0.1/32", True)])
def test_networks_that_somebody_set_are_kept_to(root: Path, networks: str, is_started: bool) -> None:
    assert (host_command(root, root, Settings(endpoint_networks=networks)) is not None) == is_started
