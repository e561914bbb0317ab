"""The file through which later commands find what `mailroom up` started, and the secrets made for this folder."""

from __future__ import annotations

import os
import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cryptography.fernet import Fernet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path


# Made once for a folder and kept: with new ones, stored tokens could not be read any more.
SECRETS: Mapping[str, Callable[[], str]] = {
    "FRONT_SIGNING_KEYS": lambda: secrets.token_hex(32),
    "TOKEN_KEYS": lambda: Fernet.generate_key().decode(),
    "SECRET_KEY": lambda: secrets.token_urlsafe(32),
}
# True only while `mailroom up` runs.
PASSING = (
    "DATABASE_URL",
    "REDIS_URL",
    "FRONT_API_URL",
    "FRONT_APP_URL",
    "FRONT_CLIENT_ID",
    "FRONT_CLIENT_SECRET",
    "PUBLIC_URL",
)


def file_in(data: Path) -> Path:
    """Where the file is; `shared.settings` reads it, and the real environment wins over it."""
    return data / "environment"


def read(data: Path) -> dict[str, str]:
    """What the file says; nothing when there is none."""
    try:
        lines = file_in(data).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
    return {name.strip(): value.strip() for name, _, value in pairs}


def keep_secrets(data: Path) -> dict[str, str]:
    """Make the secrets that are missing, forget what a killed run left, and give what is in force."""
    known = {name: value for name, value in read(data).items() if name not in PASSING}
    lasting = {name: make() for name, make in SECRETS.items() if name not in known} | known
    _write(data, lasting)
    return lasting


@contextmanager
def published(data: Path, passing: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Let other commands find what runs, for as long as it does; gives all that is in the file."""
    both = keep_secrets(data) | dict(passing)
    _write(data, both)
    try:
        yield both
    finally:
        keep_secrets(data)


def for_programs(values: Mapping[str, str], data: Path) -> dict[str, str]:
    """The environment of the programs: what the file says, and over it what was given to us."""
    given = {name: value for name, value in os.environ.items() if value or name not in values}
    return {**values, **given, "MAILROOM_DATA": str(data), "PYTHONUNBUFFERED": "1"}


def _write(data: Path, values: Mapping[str, str]) -> None:
    """Replace the file in one step; nobody else ever may read it."""
    text = "".join(f"{name}={value}\n" for name, value in values.items())
    data.mkdir(parents=True, exist_ok=True)
    new = file_in(data).with_suffix(".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    new.replace(file_in(data))


if __name__ == "__main__":  # for an installation without `mailroom up`, before its first start
    from shared.settings import load

    keep_secrets(load().mailroom_data)
