"""The settings: one typed object, read once from the environment. All mistakes are reported together."""

from __future__ import annotations

import os
import unicodedata
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self, TypeVar
from urllib.parse import quote, urlsplit

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared import failpoints
from shared.errors import ConfigurationError
from shared.intake.streams import MOST_STREAMS
from shared.setting_values import (
    Days,
    Dsn,
    FernetKeys,
    Keys,
    Networks,
    Origin,
    Url,
    checked_http_url,
    checked_origin,
    cleaned,
    is_of_platform,
    secret_text,
)

#: Each of these may also be given as NAME_FILE, the path of a file that holds it.
SECRETS = (
    "DATABASE_URL",
    "REDIS_URL",
    "STORAGE_URL",
    "FRONT_SIGNING_KEYS",
    "FRONT_CLIENT_ID",
    "FRONT_CLIENT_SECRET",
    "OIDC_CLIENT_SECRET",
    "TOKEN_KEYS",
    "SECRET_KEY",
    "SENTRY_DSN",
)

#: All processes together need these in production; each one alone needs fewer.
REQUIRED_IN_PRODUCTION = ("database_url", "redis_url", "storage_url", "front_signing_keys", "token_keys", "secret_key")
#: A shorter secret can be guessed.
MIN_SECRET_BYTES = 32
#: The settings that the process which loads them cannot run without; see `load`.
_needed: ContextVar[frozenset[str]] = ContextVar("_needed", default=frozenset())

T = TypeVar("T")


class Settings(BaseSettings):
    """Everything that differs between two installations.

    The table of docs/configuration.md repeats each field's description; a test compares the two.
    """

    model_config = SettingsConfigDict(
        extra="ignore", env_file_encoding="utf-8-sig", env_ignore_empty=True, frozen=True, validate_default=True
    )

    mailroom_env: Literal["development", "production"] = Field(
        "development", description="`production` refuses embedded servers, the demo, and missing or short secrets"
    )
    mailroom_data: Path = Field(
        Path(".mailroom"), description="Where embedded servers, files and generated secrets live"
    )
    database_url: SecretStr = Field(
        SecretStr(""), description="PostgreSQL; unset: the embedded server of `mailroom up`"
    )
    redis_url: SecretStr = Field(
        SecretStr(""),
        description="Redis 7.0 or newer, or Valkey, as `redis://`, `rediss://` (TLS) or `unix:///path`; unset: the "
        "embedded server of `mailroom up`",
    )
    intake_streams: int = Field(
        1, ge=1, le=MOST_STREAMS, description="Streams, and recorders, that share the companies"
    )
    redis_replicas: int = Field(0, ge=0, le=9, description="Replicas of Redis that have each acknowledged delivery")
    storage_url: SecretStr = Field(
        SecretStr(""), description="Where files go: `file:///path` or `s3://bucket/prefix`; unset: below MAILROOM_DATA"
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
    secret_key: SecretStr = Field(SecretStr(""), description="Signs cookies, and links to files")
    public_url: Origin = Field(
        "http://localhost:8081", description="Where people reach the console: scheme and host, without a path"
    )
    connect_url: str = Field(
        "",
        description="Where customers reach the pages that connect Front, if not at PUBLIC_URL; each host then has its "
        "own pages alone",
    )
    oidc_issuer: str = Field(
        "", description="OpenID Connect: the issuer with whose accounts people may log in to the console, too"
    )
    oidc_client_id: str = Field("", description="Client id of the console at OIDC_ISSUER")
    oidc_client_secret: SecretStr = Field(SecretStr(""), description="Client secret of the console at OIDC_ISSUER")
    trusted_proxies: Networks = Field(
        (),
        description="Addresses or networks of your proxies, separated by commas; nobody else is believed about the "
        "address and scheme of a sender",
    )
    host: str = Field(
        "",
        description="Address or name the door and the console listen on; unset: `0.0.0.0` in production and where PORT "
        "is set, else `127.0.0.1`",
    )
    port: int = Field(8080, ge=0, le=65535, description="Port of the door")
    web_module: Literal["ingest", "console.web"] = Field(
        "ingest", description="What the Procfile's `web` runs: the door, or `console.web`, which then listens on PORT"
    )
    console_port: int = Field(8081, ge=0, le=65535, description="Port of the console")
    sandbox_port: int = Field(8082, ge=0, le=65535, description="Port of the sandbox")
    demo_host_port: int = Field(8090, ge=0, le=65535, description="Port of the application that gets the demo's mail")
    metrics_port: int | None = Field(
        None, ge=0, le=65535, description="Port of a process's `/metrics` and `/readyz`; 0: any free one; unset: none"
    )
    endpoint_networks: Networks = Field(
        (),
        description="Private networks that endpoints of the host application may be in, also by plain http, as in "
        "`10.0.0.0/8,127.0.0.1/32`; unset: public addresses by https only",
    )
    metrics_host: str = Field("127.0.0.1", description="Address or name that METRICS_PORT listens on")
    freshness_seconds: int = Field(900, ge=1, description="How old a signed webhook may be")
    max_body_bytes: int = Field(10 * 2**20, ge=1024, description="Largest webhook body taken")
    max_attachment_bytes: int = Field(100 * 2**20, ge=1, description="Largest file stored")
    retention_unclaimed_days: Days = Field(
        30, description="Days that mail of companies without a tenant is kept; 0: for ever"
    )
    retention_events_days: Days = Field(
        0,
        description="Days that finished events and their files are kept; an event that a policy may still act on stays "
        "longer; 0: for ever",
    )
    retention_content_days: Days = Field(
        0, description="Days that bodies and files of finished events are kept, before their rows; 0: as long as these"
    )
    retention_failed_days: Days = Field(
        0, description="Days that failed events are kept; at least RETENTION_EVENTS_DAYS; 0: for ever"
    )
    retention_feed_days: int = Field(
        30,
        ge=1,
        le=36_500,
        description="Days that the host application has to read the feed; at most RETENTION_EVENTS_DAYS and "
        "RETENTION_CONTENT_DAYS",
    )
    web_concurrency: int = Field(2, ge=1, le=64, description="Processes of the door")
    worker_threads: int = Field(16, ge=1, le=256, description="Tasks one worker process runs at a time")
    lease_seconds: int = Field(
        120,
        ge=20,
        description="How long a task may go without progress before another worker takes it; a lost worker's task is "
        "taken after 16 s",
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
    sentry_dsn: Dsn = Field(
        SecretStr(""), description="The DSN of a project in Sentry, which gets the errors of all processes"
    )
    mailroom_crash_at: str = Field(
        "",
        description="For tests of crashes: the `POINT[:HOW[:OF]]` of `shared/failpoints.py`; refused in production",
    )

    # Each field has its own check, because pydantic skips a check of the whole object while any field is wrong.
    @field_validator("*", mode="before")
    @classmethod
    def _clean(cls, value: Any, info: ValidationInfo) -> Any:
        """Strip what is around a value; what is empty then, or is a platform's own variable, counts as unset."""
        if not isinstance(value, str):
            return value
        name, text = str(info.field_name), cleaned(value)
        if not text or is_of_platform(name, text):
            return cls.model_fields[name].get_default(call_default_factory=True)
        if any(unicodedata.category(character) in ("Cc", "Cs") for character in text):
            raise ValueError("has a line break, a control character or bytes that are not UTF-8 in it")
        return text

    @field_validator(*REQUIRED_IN_PRODUCTION)
    @classmethod
    def _require_in_production(cls, value: T, info: ValidationInfo) -> T:
        if info.field_name in _needed.get() and _in_production(info) and not _is_set(value):
            raise ValueError("required in production")
        return value

    @field_validator("front_signing_keys", "secret_key")
    @classmethod
    def _require_length_in_production(cls, value: T, info: ValidationInfo) -> T:
        secrets: list[SecretStr] = list(value) if isinstance(value, list) else [value]  # type: ignore[list-item]
        lengths = [len(each.get_secret_value().encode()) for each in secrets if _is_set(each)]
        if _in_production(info) and min(lengths, default=MIN_SECRET_BYTES) < MIN_SECRET_BYTES:
            raise ValueError(f"shorter than {MIN_SECRET_BYTES} bytes, which production refuses")
        return value

    @field_validator("database_url", "redis_url")
    @classmethod
    def _check_store_url(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        """Let the clients that will use the URL read it."""
        try:
            if _is_set(value):
                _read_by_its_client(str(info.field_name), value.get_secret_value())
        except ConfigurationError as exc:
            raise ValueError(str(exc)) from None
        return value

    @field_validator("connect_url", "oidc_issuer")
    @classmethod
    def _check_optional_url(cls, value: str, info: ValidationInfo) -> str:
        """Check what may be unset. A provider compares the issuer to the letter, so that one keeps its last slash."""
        if info.field_name == "connect_url":
            return value and checked_origin(value)
        if value:
            checked_http_url(value)
        return value

    @field_validator("front_api_url", "front_app_url", "connect_url", "oidc_issuer")
    @classmethod
    def _require_https_in_production(cls, value: str, info: ValidationInfo) -> str:
        if _in_production(info) and value and not value.startswith("https://"):
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
        folder = quote(str((self.mailroom_data / "files").resolve()))
        return self.storage_url.get_secret_value() or f"file://{folder}"

    @property
    def connect_origin(self) -> str:
        """Return CONNECT_URL, or PUBLIC_URL when it is unset."""
        return self.connect_url or self.public_url

    @property
    def has_connect_host(self) -> bool:
        """Whether customers reach the connect pages at a host of their own."""
        return urlsplit(self.connect_origin).netloc.lower() != urlsplit(self.public_url).netloc.lower()

    @property
    def listen_host(self) -> str:
        """Return HOST, or the address that suits: a platform that gives a PORT routes to it from outside."""
        is_served = self.mailroom_env == "production" or "port" in self.model_fields_set
        return self.host or ("0.0.0.0" if is_served else "127.0.0.1")  # noqa: S104 - where people expect it

    @property
    def signing_keys(self) -> tuple[bytes, ...]:
        """Return the signing keys as bytes, newest first."""
        return tuple(key.get_secret_value().encode() for key in self.front_signing_keys)

    def require(self, *names: str) -> Self:
        """Return the settings. Raises ConfigurationError, which lists all of `names` that are unset."""
        missing = [name.upper() for name in names if not self._is_given(name)]
        if missing and self.mailroom_env == "production":
            raise ConfigurationError("\n".join(f"{name}: required in production" for name in missing))
        if missing:
            raise ConfigurationError(
                f"{', '.join(missing)} not set, and no servers of `mailroom up` found in {self.mailroom_data}: "
                "set it in the environment, or start `mailroom up` first"
            )
        return self

    def refuse_in_production(self, what: str) -> Self:
        """Return the settings. Raises ConfigurationError in production: `what` would mix its mail into real mail."""
        refusal = f"MAILROOM_ENV: {what} does not run in production; unset it where no customer's mail is stored"
        if self.mailroom_env == "production":
            raise ConfigurationError(refusal)
        return self

    def _is_given(self, name: str) -> bool:
        has_default = name == "storage_url" and self.mailroom_env == "development"
        return has_default or _is_set(getattr(self, name))


def _in_production(info: ValidationInfo) -> bool:
    return info.data.get("mailroom_env") == "production"


def _is_set(value: Any) -> bool:
    return bool(value.get_secret_value() if isinstance(value, SecretStr) else value)


def _read_by_its_client(name: str, url: str) -> None:
    """Raise ConfigurationError when the client does not take the URL. The imports take longer than all else here."""
    if name == "database_url":
        from shared.db.core import check_url  # noqa: PLC0415

        check_url(url)
    else:
        from shared.redis_clients import redis_options  # noqa: PLC0415

        redis_options(url)


def load(*needed: str) -> Settings:
    """Read the settings now. Raises ConfigurationError, which lists every mistake and never a secret.

    `needed`: the settings that this process cannot run without. No process has to know the secrets of another one.
    The environment wins over `MAILROOM_DATA/environment`, which `mailroom up` writes for its embedded servers.
    """
    data = Path(cleaned(os.environ.get("MAILROOM_DATA", "")) or ".mailroom")
    token = _needed.set(frozenset(needed))
    try:
        settings = Settings(_env_file=data / "environment", **_read_secret_files())  # type: ignore[arg-type]
    except ValidationError as exc:
        raise ConfigurationError(_explain(exc)) from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{data / 'environment'}: not text in UTF-8") from None
    except OSError as exc:
        raise unusable_data(data, exc) from None
    finally:
        _needed.reset(token)
    return settings.require(*needed)


@cache
def current(*needed: str) -> Settings:
    """Return the settings of this process, which are read once."""
    return load(*needed)


def unusable_data(data: Path, error: OSError) -> ConfigurationError:
    """Return the error that says what this user may not do with MAILROOM_DATA, and the mend."""
    return ConfigurationError(
        f"MAILROOM_DATA: cannot use {error.filename or data} ({error.strerror}); let user {os.geteuid()} or group "
        f"{os.getegid()} read and write {data}, or set MAILROOM_DATA to a folder of its own"
    )


def _read_secret_files() -> dict[str, str]:
    """Read the secrets that are given as NAME_FILE. When NAME is set too, it wins."""
    found, mistakes = {}, []
    for name in SECRETS:
        path = cleaned(os.environ.get(f"{name}_FILE", ""))
        if path and not cleaned(os.environ.get(name, "")):
            try:
                found[name.lower()] = secret_text(Path(path).read_bytes())
            except OSError as exc:
                mistakes.append(f"{name}_FILE: cannot read {path}: {exc.strerror}")
            except ValueError as exc:
                mistakes.append(f"{name}_FILE: {path} {exc}")
    if mistakes:
        raise ConfigurationError("\n".join(mistakes))
    return found


def _explain(error: ValidationError) -> str:
    """Write one line for each mistake, without the values."""
    lines = []
    for mistake in error.errors(include_input=False, include_url=False):
        name = ".".join(str(part) for part in mistake["loc"][:1]).upper()
        text = mistake["msg"].removeprefix("Value error, ")
        lines.append(f"{name}: {text}" if name else text)
    return "\n".join(lines)
