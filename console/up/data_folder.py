"""The folder of one Mailroom: its lock, its secrets, and the settings through which later commands find what runs.

`python -m console.up.data_folder` makes the secrets, for an installation without `mailroom up`.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from cryptography.fernet import Fernet

from shared.errors import ConfigurationError, MailroomError
from shared.settings import load, unusable_data
from shared.storage import sync

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

EXIT_CONFIGURATION = 78
# Made once for a folder and kept: nobody could read the stored tokens with new keys.
SECRETS: Mapping[str, Callable[[], str]] = {
    "FRONT_SIGNING_KEYS": lambda: secrets.token_hex(32),
    "TOKEN_KEYS": lambda: Fernet.generate_key().decode(),
    "SECRET_KEY": lambda: secrets.token_urlsafe(32),
}
# True only while `mailroom up` runs.
TEMPORARY = (
    "DATABASE_URL",
    "REDIS_URL",
    "FRONT_API_URL",
    "FRONT_APP_URL",
    "FRONT_CLIENT_ID",
    "FRONT_CLIENT_SECRET",
    "PUBLIC_URL",
    "ENDPOINT_NETWORKS",
)


class AlreadyRunning(MailroomError):
    """Another process works in this folder."""

    code = "already_running"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock the folder for this process. Raises AlreadyRunning if another one has it, and ConfigurationError.

    The kernel releases the lock when the process ends, however it ends.
    """
    with ExitStack() as stack:
        with _named_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context((folder / "lock").open("w"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise AlreadyRunning(f"Mailroom is already running on {folder}") from None
        yield


def settings_file(data: Path) -> Path:
    """Return the path of the file that `shared.settings` reads below the real environment."""
    return data / "environment"


def read_settings(data: Path) -> dict[str, str]:
    """Return the settings in the file; none if there is no file. Raises ConfigurationError."""
    with _named_errors(data):
        try:
            lines = settings_file(data).read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return {}
    pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
    return {name.strip(): value.strip() for name, _, value in pairs}


def ensure_secrets(data: Path, *, production: bool = False) -> dict[str, str]:
    """Make the missing secrets, drop the temporary settings of a killed run, and return what is in the file now.

    In `production` nobody makes up a signing key: Front signs with the key of the app. Raises ConfigurationError.
    """
    known = {name: value for name, value in read_settings(data).items() if name not in TEMPORARY}
    makers = {name: make for name, make in SECRETS.items() if not (production and name == "FRONT_SIGNING_KEYS")}
    lasting = {name: make() for name, make in makers.items() if name not in known} | known
    _write(data, lasting)
    return lasting


@contextmanager
def published(data: Path, temporary: Mapping[str, str], *, production: bool = False) -> Iterator[dict[str, str]]:
    """Publish these settings to other commands until the block ends; give all settings in the file."""
    settings = ensure_secrets(data, production=production) | dict(temporary)
    _write(data, settings)
    try:
        yield settings
    finally:
        ensure_secrets(data, production=production)


def program_environment(settings: Mapping[str, str], data: Path) -> dict[str, str]:
    """Return the environment of the programs: the published settings, and over them our own environment.

    An empty variable of ours does not hide a published setting.
    """
    own = {name: value for name, value in os.environ.items() if value or name not in settings}
    return {**settings, **own, "MAILROOM_DATA": str(data), "PYTHONUNBUFFERED": "1"}


def _write(data: Path, settings: Mapping[str, str]) -> None:
    """Replace the file in one step; nobody but its owner may read it at any moment."""
    text = "".join(f"{name}={value}\n" for name, value in settings.items())
    new = settings_file(data).with_suffix(".new")
    with _named_errors(data):
        data.mkdir(parents=True, exist_ok=True)
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        sync(new)
        new.replace(settings_file(data))
        sync(data)


@contextmanager
def _named_errors(folder: Path) -> Iterator[None]:
    """Turn an error of the system into a ConfigurationError that says who may not do what in the folder."""
    try:
        yield
    except OSError as exc:
        raise unusable_data(folder, exc) from exc


def main() -> int:
    """Make the secrets that the environment does not give (0); 78 when the settings are wrong."""
    try:
        settings = load()
        if not (settings.token_keys and settings.secret_key.get_secret_value()):
            ensure_secrets(settings.mailroom_data, production=settings.mailroom_env == "production")
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return EXIT_CONFIGURATION
    return 0


if __name__ == "__main__":
    sys.exit(main())
