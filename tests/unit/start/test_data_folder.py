"""The data folder's settings file tells other commands the servers' URLs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from console.up.data_folder import ensure_secrets, program_environment, published, read_settings, settings_file

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

URL = "postgresql://postgres@/mailroom?host=/tmp/x&port=5432"


def test_there_are_no_settings_before_the_first_start(tmp_path: Path) -> None:
    assert read_settings(tmp_path) == {}


def test_secrets_are_generated_once(tmp_path: Path) -> None:
    assert ensure_secrets(tmp_path) == ensure_secrets(tmp_path)


def test_a_secret_set_by_hand_is_kept(tmp_path: Path) -> None:
    settings_file(tmp_path).write_text("SECRET_KEY=mine\n")
    assert ensure_secrets(tmp_path)["SECRET_KEY"] == "mine"


def test_urls_are_there_while_the_servers_run(tmp_path: Path) -> None:
    with published(tmp_path, {"DATABASE_URL": URL}):
        assert read_settings(tmp_path)["DATABASE_URL"] == URL
    assert "DATABASE_URL" not in read_settings(tmp_path)


def test_urls_left_by_a_killed_run_are_forgotten(tmp_path: Path) -> None:
    settings_file(tmp_path).write_text(f"DATABASE_URL={URL}\n")
    ensure_secrets(tmp_path)
    assert "DATABASE_URL" not in read_settings(tmp_path)


def test_the_file_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    ensure_secrets(tmp_path)
    assert settings_file(tmp_path).stat().st_mode & 0o777 == 0o600


def test_the_environment_overrides_the_file_for_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "given")
    assert program_environment({"SECRET_KEY": "made"}, tmp_path)["SECRET_KEY"] == "given"


def test_an_empty_setting_counts_as_unset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "")
    assert program_environment({"DATABASE_URL": URL}, tmp_path)["DATABASE_URL"] == URL
