"""What the demo tells can be typed as it stands."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from console.up.demo import MAIL, describe, shell_word


@pytest.mark.parametrize(
    ("path", "typed"),
    [
        # Below the folder the demo runs in
        ("here/.mailroom/a.token", ".mailroom/a.token"),
        # Elsewhere, with a space
        ("new comer/a.token", "'{root}/new comer/a.token'"),
    ],
)
def test_a_path_is_one_word(path: str, typed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert shell_word(tmp_path / path) == typed.format(root=tmp_path)
    assert len(shlex.split(shell_word(tmp_path / path))) == 1


def test_a_mail_is_described_by_whom_it_is_for_and_its_files() -> None:
    order = {"type": "inbound_received", **MAIL[0]}
    assert describe(order) == "inbound_received  to Ines@harbour.example, partner@quay.example  files: 2"
