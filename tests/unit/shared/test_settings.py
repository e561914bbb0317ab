"""Settings are strict, report every mistake at once, and never show a secret."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from shared.errors import ConfigurationError
from shared.settings import SECRETS, Settings, load

KEY = "bWFpbHJvb20ncyB0ZXN0cywgbm90IGEgc2VjcmV0ISE="
PRODUCTION = {
    "MAILROOM_ENV": "production",
    "DATABASE_URL": "postgresql://db/mailroom",
    "REDIS_URL": "rediss://cache/0",
    "STORAGE_URL": "s3://files/mailroom",
    "FRONT_SIGNING_KEYS": "newest,oldest",
    "TOKEN_KEYS": KEY,
    "SECRET_KEY": "a-secret-of-the-console",
}


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (*Settings.model_fields, *(f"{secret}_FILE" for secret in SECRETS)):
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)


def load_with(monkeypatch: pytest.MonkeyPatch, **environment: str) -> Settings:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return load()


def mistakes(monkeypatch: pytest.MonkeyPatch, **environment: str) -> list[str]:
    with pytest.raises(ConfigurationError) as refused:
        load_with(monkeypatch, **environment)
    return sorted(str(refused.value).splitlines())


def test_everything_has_a_default_in_development() -> None:
    assert load() == Settings()


def test_production_accepts_complete_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_with(monkeypatch, **PRODUCTION).mailroom_env == "production"


def test_production_names_every_missing_setting_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert mistakes(monkeypatch, MAILROOM_ENV="production") == [
        "DATABASE_URL: required in production",
        "FRONT_SIGNING_KEYS: required in production",
        "REDIS_URL: required in production",
        "SECRET_KEY: required in production",
        "STORAGE_URL: required in production",
        "TOKEN_KEYS: required in production",
    ]


def test_missing_settings_are_reported_beside_wrong_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = PRODUCTION | {"SECRET_KEY": "", "PORT": "eighty", "LOG_LEVEL": "loud", "FRONT_API_URL": "http://front"}
    names = [line.partition(":")[0] for line in mistakes(monkeypatch, **wrong)]
    assert names == ["FRONT_API_URL", "LOG_LEVEL", "PORT", "SECRET_KEY"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MAILROOM_ENV", "prod"),
        ("PORT", "65536"),
        ("PORT", "-1"),
        ("FRESHNESS_SECONDS", "0"),
        ("FRESHNESS_SECONDS", "15 min"),
        ("MAX_BODY_BYTES", "10 MiB"),
        ("WEB_CONCURRENCY", "0"),
        ("WORKER_THREADS", "257"),
        ("LEASE_SECONDS", "19"),
        ("LOG_FORMAT", "text"),
        ("LOG_LEVEL", "info"),
        ("TOKEN_KEYS", "hunter2"),
        ("TOKEN_KEYS", f"{KEY},hunter2"),
    ],
)
def test_a_wrong_value_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    (told,) = mistakes(monkeypatch, **{name: value})
    assert told.startswith(f"{name}: ")


def test_no_message_shows_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    told = mistakes(monkeypatch, **(PRODUCTION | {"TOKEN_KEYS": "hunter2", "PORT": "x"}))
    assert not any(secret in line for line in told for secret in ("hunter2", "newest", PRODUCTION["SECRET_KEY"]))


@pytest.mark.parametrize("value", ["newest,oldest", " newest , oldest ,", ",newest,,oldest"])
def test_keys_are_a_list_newest_first(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    assert load_with(monkeypatch, FRONT_SIGNING_KEYS=value).signing_keys == (b"newest", b"oldest")


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_may_come_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text(f"{KEY}\n")
    found = getattr(load_with(monkeypatch, **{f"{name}_FILE": str(tmp_path / "secret")}), name.lower())
    found = found[0] if isinstance(found, list) else found
    assert (found if isinstance(found, str) else found.get_secret_value()) == KEY


def test_a_secret_itself_wins_over_its_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from the file")
    found = load_with(monkeypatch, SECRET_KEY="itself", SECRET_KEY_FILE=str(tmp_path / "secret"))
    assert found.secret_key.get_secret_value() == "itself"


def test_a_file_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert mistakes(monkeypatch, SECRET_KEY_FILE="gone") == [
        "SECRET_KEY_FILE: cannot read gone: No such file or directory"
    ]


def test_the_environment_wins_over_the_file_of_the_embedded_servers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "environment").write_text("REDIS_URL=redis://embedded\nDATABASE_URL=postgresql://embedded\n")
    found = load_with(monkeypatch, MAILROOM_DATA=str(tmp_path), REDIS_URL="redis://mine")
    assert (found.redis_url.get_secret_value(), found.database_url.get_secret_value()) == (
        "redis://mine",
        "postgresql://embedded",
    )


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_with(monkeypatch, PORT="", MAILROOM_DATA="", STORAGE_URL="") == Settings()


def test_files_are_stored_below_the_data_folder_by_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert load_with(monkeypatch, MAILROOM_DATA=str(tmp_path)).storage == f"file://{tmp_path}/files"


def test_a_url_loses_its_trailing_slash(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_with(monkeypatch, PUBLIC_URL="https://mail.example/").public_url == "https://mail.example"


def test_settings_are_immutable() -> None:
    with pytest.raises(ValidationError):
        Settings().port = 1  # type: ignore[misc]


def test_settings_can_be_printed_without_showing_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = repr(load_with(monkeypatch, **PRODUCTION))
    assert not any(PRODUCTION[name] in shown for name in ("DATABASE_URL", "REDIS_URL", "TOKEN_KEYS", "SECRET_KEY"))


def test_a_program_names_every_required_setting() -> None:
    with pytest.raises(ConfigurationError, match="DATABASE_URL, REDIS_URL not set"):
        Settings().require("database_url", "port", "redis_url")


@pytest.mark.parametrize(
    "url", ["https://m.example", "http://localhost:8081/", "HTTPS://M.example:8443", "http://[::1]:81"]
)
def test_the_console_has_a_host_of_its_own(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    assert load_with(monkeypatch, PUBLIC_URL=url).public_url == url.rstrip("/")


@pytest.mark.parametrize(
    "url",
    [
        "https://m.example/mailroom",
        "https://m.example/mailroom/",
        "https://m.example?a=b",
        "https://m.example/#top",
        "m.example",
        "/mailroom",
        "ftp://m.example",
        "https://",
        "https://me:secret@m.example",
    ],
)
def test_a_public_url_with_more_than_a_host_is_refused(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """The pages, the cookies and the redirects of the console begin at the root of its host."""
    assert mistakes(monkeypatch, PUBLIC_URL=url) == [
        "PUBLIC_URL: write it as https://console.your.host, without a path: the console needs a host of its own"
    ]
