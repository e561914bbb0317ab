"""The settings: strict, every mistake at once, and never a secret's value."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from pydantic import ValidationError

from shared.errors import ConfigurationError
from shared.settings import REQUIRED_IN_PRODUCTION, SECRETS, Settings, load
from shared.storage import check_storage_url

KEY = "bWFpbHJvb20ncyB0ZXN0cywgbm90IGEgc2VjcmV0ISE="
DSN = "https://0123456789abcdef@o1.ingest.sentry.example:8443/sub/4505"
PRODUCTION = {
    "MAILROOM_ENV": "production",
    "DATABASE_URL": "postgresql://db/mailroom",
    "REDIS_URL": "rediss://cache/0",
    "STORAGE_URL": "s3://files/mailroom",
    "FRONT_SIGNING_KEYS": f"{'newest' * 6},{'oldest' * 6}",
    "TOKEN_KEYS": KEY,
    "SECRET_KEY": "a-secret-of-the-console-" * 2,
}


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (*Settings.model_fields, *(f"{secret}_FILE" for secret in SECRETS)):
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)


def load_with(
    monkeypatch: pytest.MonkeyPatch, *, needed: Iterable[str] = REQUIRED_IN_PRODUCTION, **environment: str
) -> Settings:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return load(*(needed if environment.get("MAILROOM_ENV") == "production" else ()))


def mistakes(
    monkeypatch: pytest.MonkeyPatch, *, needed: Iterable[str] = REQUIRED_IN_PRODUCTION, **environment: str
) -> list[str]:
    with pytest.raises(ConfigurationError) as refused:
        load_with(monkeypatch, needed=needed, **environment)
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
        ("SENTRY_DSN", "https://sentry.example/7"),
        ("SENTRY_DSN", "https://key@sentry.example/project"),
        ("SENTRY_DSN", "key@sentry.example/7"),
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
    given = {"SENTRY_DSN": DSN, **PRODUCTION}[name] if name.endswith(("_URL", "_DSN")) else KEY
    (tmp_path / "secret").write_text(f"{given}\n")
    found = getattr(load_with(monkeypatch, **{f"{name}_FILE": str(tmp_path / "secret")}), name.lower())
    found = found[0] if isinstance(found, list) else found
    assert (found if isinstance(found, str) else found.get_secret_value()) == given


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
    assert not any(PRODUCTION[name] in shown for name in SECRETS if name in PRODUCTION)


def test_a_program_names_every_required_setting() -> None:
    with pytest.raises(ConfigurationError, match="DATABASE_URL, REDIS_URL not set"):
        Settings().require("database_url", "port", "redis_url")


@pytest.mark.parametrize(
    ("name", "needed"),
    [
        ("TOKEN_KEYS", ("database_url", "redis_url", "front_signing_keys")),
        ("SECRET_KEY", ("database_url", "redis_url", "token_keys", "storage_url")),
        ("FRONT_SIGNING_KEYS", ("database_url", "redis_url")),
    ],
)
def test_a_process_needs_only_its_own_secrets(
    monkeypatch: pytest.MonkeyPatch, name: str, needed: tuple[str, ...]
) -> None:
    assert load_with(monkeypatch, needed=needed, **(PRODUCTION | {name: ""})).mailroom_env == "production"


@pytest.mark.parametrize("name", ["FRONT_SIGNING_KEYS", "SECRET_KEY"])
def test_production_refuses_a_secret_that_can_be_guessed(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    assert mistakes(monkeypatch, **(PRODUCTION | {name: "k" * 31})) == [
        f"{name}: shorter than 32 bytes, which production refuses"
    ]


def test_each_of_several_keys_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    assert mistakes(monkeypatch, **(PRODUCTION | {"FRONT_SIGNING_KEYS": f"{'k' * 32},old"}))


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://u:hunter2@db/mailroom",
        "jdbc:postgresql://db/mailroom?password=hunter2",
        "'postgresql://u:hunter2@db/mailroom",
        "postgresql://u:hunter%2@db/mailroom",
        "postgresql://u:hun/ter2@db/mailroom",
        "postgresql://u:12/hunter2@db/mailroom",
        "postgresql://u:x@hunter2@db/mailroom",
        "postgresql://u:hunter2@db:port/mailroom",
        "postgresql://u:hunter2@db:99999/mailroom",
        "postgresql://u:hunter2@db/mailroom?sslmode=yes",
        "postgresql://u:hunter2@db/mailroom?connect_timeout=soon",
        "postgresql://u:hunter2@db/mailroom?hostaddr=db",
        "postgresql://u:hunter2@db/mailroom?pool_size=5",
        "mysql://u:hunter2@db/mailroom",
        "hunter2",
    ],
)
def test_a_database_url_that_its_client_would_refuse_later_is_refused_now(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    (told,) = mistakes(monkeypatch, DATABASE_URL=url)
    assert told.startswith("DATABASE_URL: ")
    assert not any(part in told for part in ("hunter", "ter2", "mailroom?", "u:"))


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:hunter%252@db:5433/mailroom?sslmode=verify-full",
        "postgres://u@[::1]/mailroom",
        "postgresql:///mailroom?host=/run/postgresql&port=5433",
        "postgresql://u:x@a:5432,b:5433/mailroom?target_session_attrs=read-write",
        "host=db dbname=mailroom user=u password=hun@ter",
    ],
)
def test_a_database_url_as_libpq_documents_it_is_taken(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    assert load_with(monkeypatch, DATABASE_URL=url).database_url.get_secret_value() == url


@pytest.mark.parametrize(
    "url",
    [
        "redis://:hun/ter2=@cache",
        "redis://:hun#ter2@cache",
        "redis://:hun?ter2@cache",
        "redis://:hunter2@cache:99999",
        "redis://:hunter2@cache/mailroom",
        "redis://:hunter2@cache/0/1",
        "redis://:hunter2@cache?db=one",
        "redis://:hunter2@cache?health_check_interval=30",
        "redis://:hunter2@cache?socket_timeout=60",
        "redis://:hunter2@cache?decode_responses=true",
        "redis://:hunter2@cache?ssl_cert_reqs=none",
        "rediss://:hunter2@cache?ssl_cert_reqs=CERT_NONE",
        "rediss://:hunter2@cache?ssl_ca_certs=/gone.pem",
        "rediss://:hunter2@cache?ssl_certfile=/gone.pem",
        "redis://a:1,b:2",
        "redis://a,b/0",
        "sentinel://:hunter2@a:26379;sentinel://b:26379",
        "redis+sentinel://:hunter2@a:26379/mymaster",
        "redis+cluster://:hunter2@cache",
        "http://:hunter2@cache",
        "unix://run/redis.sock",
        "cache:6379",
        "hunter2",
    ],
)
def test_a_redis_url_that_one_of_its_clients_would_refuse_later_is_refused_now(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    (told,) = mistakes(monkeypatch, REDIS_URL=url)
    assert told.startswith("REDIS_URL: ")
    assert not any(part in told for part in ("hun", "ter2", "cache", "gone"))


@pytest.mark.parametrize("name", ["FRONT_API_URL", "FRONT_APP_URL", "PUBLIC_URL"])
@pytest.mark.parametrize(
    "value", ["front.example", "ftp://front.example", "https://", "https://u:hunter2@x", "https://x?a=1"]
)
def test_an_address_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    (told,) = mistakes(monkeypatch, **{name: value})
    assert told.startswith(f"{name}: ")
    assert "hunter2" not in told


AROUND = ["{}\n", "{}\r\n", " {}\t", "\ufeff{}", "\u200b{}\u200b", "'{}'", '"{}"', ' "{}" \n', "\u201c{}\u201d"]


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize(
    "name", ["FRONT_SIGNING_KEYS", "SECRET_KEY", "DATABASE_URL", "STORAGE_URL", "PORT", "MAILROOM_ENV"]
)
def test_what_is_around_a_value_is_stripped(monkeypatch: pytest.MonkeyPatch, name: str, around: str) -> None:
    plain = load_with(monkeypatch, **(PRODUCTION | {"PORT": "9000"}))
    monkeypatch.setenv(name, around.format((PRODUCTION | {"PORT": "9000"})[name]))
    assert load(*REQUIRED_IN_PRODUCTION) == plain


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_secret_file_is_read_as_any_editor_writes_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, around: str, encoding: str
) -> None:
    (tmp_path / "secret").write_text(around.format("first,second"), encoding=encoding)
    assert load_with(monkeypatch, FRONT_SIGNING_KEYS_FILE=str(tmp_path / "secret")).signing_keys == (
        b"first",
        b"second",
    )


def test_each_key_of_a_list_is_stripped(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_with(monkeypatch, FRONT_SIGNING_KEYS="'a', \"b\"").signing_keys == (b"a", b"b")


@pytest.mark.parametrize("content", [b"\xff\xfea", b"a\xff", "key".encode("utf-16-le"), b"one\ntwo", b"", b" \n"])
def test_a_secret_file_that_is_no_secret_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "secret").write_bytes(content)
    (told,) = mistakes(monkeypatch, SECRET_KEY_FILE=str(tmp_path / "secret"))
    assert told.startswith(("SECRET_KEY_FILE: ", "SECRET_KEY: "))


def test_kubernetes_variables_are_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    services = {f"{name}_PORT": "tcp://10.96.1.2:8081" for name in ("CONSOLE", "SANDBOX")}
    assert load_with(monkeypatch, **services).console_port == Settings().console_port


@pytest.mark.parametrize("host", ["x86_64-conda-linux-gnu", "x86_64-conda_cos6-linux-gnu", "arm64-apple-darwin20.0.0"])
def test_condas_host_is_not_ours(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    assert load_with(monkeypatch, HOST=host).listen_host == "127.0.0.1"


@pytest.mark.parametrize(
    ("environment", "host"),
    [
        ({}, "127.0.0.1"),
        ({"PORT": "5000"}, "0.0.0.0"),
        (PRODUCTION, "0.0.0.0"),
        (PRODUCTION | {"HOST": "127.0.0.1"}, "127.0.0.1"),
        ({"PORT": "5000", "HOST": "localhost"}, "localhost"),
    ],
)
def test_a_platform_that_gives_a_port_reaches_it(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], host: str
) -> None:
    assert load_with(monkeypatch, **environment).listen_host == host


def test_a_data_folder_with_odd_characters_stays_one_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    storage = load_with(monkeypatch, MAILROOM_DATA=str(tmp_path / "a #1 100%")).storage
    assert check_storage_url(storage) == tmp_path / "a #1 100%" / "files"


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


def test_trusted_proxies_are_addresses_and_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    found = load_with(monkeypatch, TRUSTED_PROXIES=" 10.0.0.0/8, 192.0.2.7 ,fd00::/8").trusted_proxies
    assert list(map(str, found)) == ["10.0.0.0/8", "192.0.2.7/32", "fd00::/8"]
    assert load_with(monkeypatch, TRUSTED_PROXIES="").trusted_proxies == ()


@pytest.mark.parametrize("value", ["proxy.internal", "10.0.0.1/8", "*", "10.0.0", "10.0.0.0/8;10.1.0.0/16"])
def test_what_is_no_network_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    assert mistakes(monkeypatch, TRUSTED_PROXIES=value) == [
        "TRUSTED_PROXIES: name addresses or networks as in 10.1.2.3,10.0.0.0/8,fd00::/8"
    ]


@pytest.mark.parametrize("value", ["0.0.0.0/0", "10.0.0.0/8, ::/0"])
def test_nobody_trusts_everybody(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    (told,) = mistakes(monkeypatch, TRUSTED_PROXIES=value)
    assert "is everybody" in told


@pytest.mark.parametrize("name", ["CONNECT_URL", "OIDC_ISSUER"])
def test_an_optional_address_is_https_in_production(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    assert mistakes(monkeypatch, **PRODUCTION, **{name: "http://x.example"}) == [f"{name}: must be https in production"]
    assert load_with(monkeypatch, **PRODUCTION, **{name: "https://x.example"})


def test_an_issuer_keeps_its_last_slash(monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider compares it to the letter."""
    assert load_with(monkeypatch, OIDC_ISSUER="https://x.example/realm/").oidc_issuer == "https://x.example/realm/"


def test_customers_connect_at_the_consoles_host_unless_there_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    one = load_with(monkeypatch, PUBLIC_URL="https://c.example")
    assert (one.connect_origin, one.has_connect_host) == ("https://c.example", False)
    same = load_with(monkeypatch, PUBLIC_URL="https://c.example", CONNECT_URL="https://C.example/")
    assert same.has_connect_host is False
    two = load_with(monkeypatch, PUBLIC_URL="https://c.example", CONNECT_URL="https://d.example")
    assert (two.connect_origin, two.has_connect_host) == ("https://d.example", True)


@pytest.mark.parametrize(
    ("name", "value"),
    [("RETENTION_CONTENT_DAYS", "-1"), ("RETENTION_EVENTS_DAYS", "36501"), ("RETENTION_FEED_DAYS", "0")],
)
def test_days_of_retention_are_within_their_bounds(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=name):
        load()
