"""The settings: one typed object, read once from the environment. All mistakes are reported together."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar
from urllib.parse import urlsplit

from cryptography.fernet import Fernet
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from shared import failpoints
from shared.errors import ConfigurationError

#: Each of these may also be given as NAME_FILE, the path of a file that holds it.
SECRETS = (
    "DATABASE_URL",
    "REDIS_URL",
    "FRONT_SIGNING_KEYS",
    "FRONT_CLIENT_ID",
    "FRONT_CLIENT_SECRET",
    "TOKEN_KEYS",
    "SECRET_KEY",
)

T = TypeVar("T")


def _split_at_commas(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _without_trailing_slash(value: str) -> str:
    return value.rstrip("/")


def _checked_fernet_key(value: SecretStr) -> SecretStr:
    try:
        Fernet(value.get_secret_value())
    except ValueError:
        raise ValueError("not a Fernet key; `mailroom keys generate` prints one") from None
    return value


def _checked_origin(value: str) -> str:
    parts = urlsplit(value)
    origin = f"{parts.scheme}://{parts.netloc}"
    if parts.scheme not in {"http", "https"} or not parts.hostname or value.lower() != origin.lower() or parts.username:
        raise ValueError("write it as https://console.your.host, without a path: the console needs a host of its own")
    return value


Url = Annotated[str, AfterValidator(_without_trailing_slash)]
Keys = Annotated[list[SecretStr], NoDecode, BeforeValidator(_split_at_commas)]
FernetKeys = Annotated[
    list[Annotated[SecretStr, AfterValidator(_checked_fernet_key)]], NoDecode, BeforeValidator(_split_at_commas)
]


class Settings(BaseSettings):
    """Everything that differs between two installations.

    The README's configuration table repeats each field's description; a test compares the two.
    """

    model_config = SettingsConfigDict(
        extra="ignore", env_file_encoding="utf-8", env_ignore_empty=True, frozen=True, validate_default=True
    )

    mailroom_env: Literal["development", "production"] = Field(
        "development", description="`production` refuses embedded servers and missing secrets"
    )
    mailroom_data: Path = Field(
        Path(".mailroom"), description="Where embedded servers, files and generated secrets live"
    )
    database_url: SecretStr = Field(
        SecretStr(""), description="PostgreSQL; unset: the embedded server of `mailroom up`"
    )
    redis_url: SecretStr = Field(
        SecretStr(""), description="Redis 7.0 or newer, or Valkey; unset: the embedded server of `mailroom up`"
    )
    storage_url: str = Field(
        "", description="Where files go: `file:///path` or `s3://bucket/prefix`; unset: below MAILROOM_DATA"
    )
    front_signing_keys: Keys = Field(
        default_factory=list, description="The Front app's signing keys, newest first, separated by commas"
    )
    front_client_id: str = Field("", description="OAuth client id of the Front app")
    front_client_secret: SecretStr = Field(SecretStr(""), description="OAuth client secret of the Front app")
    front_api_url: Url = Field("https://api2.frontapp.com", description="Front's API")
    front_app_url: Url = Field("https://app.frontapp.com", description="Front's own pages (OAuth)")
    token_keys: FernetKeys = Field(
        default_factory=list, description="Fernet keys that encrypt tenants' tokens, newest first, separated by commas"
    )
    secret_key: SecretStr = Field(SecretStr(""), description="Signs the console's cookies")
    public_url: Annotated[Url, AfterValidator(_checked_origin)] = Field(
        "http://localhost:8081", description="Where people reach the console: scheme and host, without a path"
    )
    host: str = Field("127.0.0.1", description="Address the door and the console listen on")
    port: int = Field(8080, ge=0, le=65535, description="Port of the door")
    console_port: int = Field(8081, ge=0, le=65535, description="Port of the console")
    sandbox_port: int = Field(8082, ge=0, le=65535, description="Port of the sandbox")
    freshness_seconds: int = Field(900, ge=1, description="How old a signed webhook may be")
    max_body_bytes: int = Field(10 * 2**20, ge=1024, description="Largest webhook body taken")
    max_attachment_bytes: int = Field(100 * 2**20, ge=1, description="Largest file stored")
    retention_unclaimed_days: int = Field(
        30, ge=0, le=36_500, description="Days that mail of companies without a tenant is kept; 0: for ever"
    )
    retention_events_days: int = Field(
        0,
        ge=0,
        le=36_500,
        description="Days that finished events and their files are kept; an event that a policy may still act on stays "
        "longer; 0: for ever",
    )
    web_concurrency: int = Field(2, ge=1, le=64, description="Processes of the door")
    worker_threads: int = Field(16, ge=1, le=256, description="Tasks one worker process runs at a time")
    lease_seconds: int = Field(
        120, ge=20, description="How long a task waits for a worker that says nothing before another one takes it"
    )
    repair_minutes: int = Field(
        15, ge=0, le=1440, description="How often Front's event list is compared with what was recorded; 0: never"
    )
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="`auto`: coloured lines on a terminal, JSON elsewhere"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Least important level that is logged"
    )
    mailroom_crash_at: str = Field(
        "",
        description="For tests of crashes: where and how a process dies, freezes or breaks, as `POINT[:HOW[:OF]]` "
        "(`shared/failpoints.py` lists them); refused in production",
    )

    # Each field has its own check, because pydantic skips a check of the whole object while any field is wrong.
    @field_validator("database_url", "redis_url", "storage_url", "front_signing_keys", "token_keys", "secret_key")
    @classmethod
    def _require_in_production(cls, value: T, info: ValidationInfo) -> T:
        if _in_production(info) and not _is_set(value):
            raise ValueError("required in production")
        return value

    @field_validator("front_api_url", "front_app_url")
    @classmethod
    def _require_https_in_production(cls, value: str, info: ValidationInfo) -> str:
        if _in_production(info) and not value.startswith("https://"):
            raise ValueError("must be https in production")
        return value

    @field_validator("mailroom_crash_at")
    @classmethod
    def _check_crash_point(cls, value: str, info: ValidationInfo) -> str:
        if value and _in_production(info):
            raise ValueError("crashes are for tests, not for production; unset it")
        failpoints.parse(value)
        return value

    @property
    def storage(self) -> str:
        """Return STORAGE_URL, or the URL of a folder below MAILROOM_DATA when it is unset."""
        return self.storage_url or f"file://{(self.mailroom_data / 'files').resolve()}"

    @property
    def signing_keys(self) -> tuple[bytes, ...]:
        """Return the signing keys as bytes, newest first."""
        return tuple(key.get_secret_value().encode() for key in self.front_signing_keys)

    def require(self, *names: str) -> Self:
        """Return the settings. Raises ConfigurationError, which lists all of `names` that are unset."""
        missing = [name.upper() for name in names if not _is_set(getattr(self, name))]
        if missing:
            raise ConfigurationError(
                f"{', '.join(missing)} not set, and no servers of `mailroom up` found in {self.mailroom_data}: "
                "set it in the environment, or start `mailroom up` first"
            )
        return self


def _in_production(info: ValidationInfo) -> bool:
    return info.data.get("mailroom_env") == "production"


def _is_set(value: Any) -> bool:
    return bool(value.get_secret_value() if isinstance(value, SecretStr) else value)


def load() -> Settings:
    """Read the settings now. Raises ConfigurationError, which lists every mistake and never a secret.

    The environment wins over `MAILROOM_DATA/environment`, which `mailroom up` writes for its embedded servers.
    """
    data = Path(os.environ.get("MAILROOM_DATA") or ".mailroom")
    try:
        return Settings(_env_file=data / "environment", **_read_secret_files())  # type: ignore[arg-type]
    except ValidationError as exc:
        raise ConfigurationError(_explain(exc)) from None


@cache
def current() -> Settings:
    """Return the settings of this process, which are read once."""
    return load()


def _read_secret_files() -> dict[str, str]:
    """Read the secrets that are given as NAME_FILE. When NAME is set too, it wins."""
    found = {}
    for name in SECRETS:
        path = os.environ.get(f"{name}_FILE")
        if path and not os.environ.get(name):
            try:
                found[name.lower()] = Path(path).read_text(encoding="utf-8").strip()
            except OSError as exc:
                raise ConfigurationError(f"{name}_FILE: cannot read {path}: {exc.strerror}") from None
    return found


def _explain(error: ValidationError) -> str:
    """Write one line for each mistake, without the values."""
    lines = []
    for mistake in error.errors(include_input=False, include_url=False):
        name = ".".join(str(part) for part in mistake["loc"][:1]).upper()
        text = mistake["msg"].removeprefix("Value error, ")
        lines.append(f"{name}: {text}" if name else text)
    return "\n".join(lines)
