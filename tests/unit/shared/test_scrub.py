"""No log line holds a secret that this process knows."""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Iterator

import pytest
import structlog
from cryptography.fernet import Fernet
from pydantic import SecretStr

from shared.connection.vault import TokenVault
from shared.process import logs
from shared.process.scrub import CUT, HALF, LONGEST, MARGIN, KnownSecrets, loggable, remember, scrub
from shared.settings import Settings

KEY = Fernet.generate_key().decode()


@pytest.mark.parametrize(
    ("secrets", "text", "expected"),
    [
        (["a-long-secret"], "it is a-long-secret, twice: a-long-secret", "it is [hidden], twice: [hidden]"),
        (["a-long-secret"], "nothing of that kind", "nothing of that kind"),
        # It is too short to be a secret, and hiding it would tear ordinary words
        (["art"], "a part of it", "a part of it"),
        (["first-secret", "other-secret"], "other-secret first-secret", "[hidden] [hidden]"),
    ],
)
def test_known_secrets_are_hidden(secrets: list[str], text: str, expected: str) -> None:
    known = KnownSecrets()
    known.remember(secrets)
    assert known.hide(text) == expected


def test_only_the_latest_secrets_are_remembered() -> None:
    known = KnownSecrets(max_secrets=2)
    known.remember(f"secret-number-{number}" for number in range(4))
    assert known.hide("secret-number-1 secret-number-2 secret-number-3") == "secret-number-1 [hidden] [hidden]"


def seconds_of(text: str) -> float:
    """The least processor time of three."""
    times = []
    for _ in range(3):
        began = time.process_time()
        scrub(text)
        times.append(time.process_time() - began)
    return min(times)


@pytest.mark.parametrize(
    "pattern",
    [
        "{a}@",
        "a@{a}",
        "a@{a-}",
        "a@a{.}",
        "{a+}@",
        "{a@}",
        "a{@}",
        "a@{a.}@",
        "://{a}",
        "://{://a:}",
        "token{ }=",
        "token={ }'",
    ],
)
def test_twice_as_long_a_line_takes_twice_as_long(pattern: str) -> None:
    before, repeated = pattern.split("{")
    part, after = repeated.split("}")
    short, long = (before + part * (length // len(part)) + after for length in (20_000, 160_000))
    assert seconds_of(long) < 0.01 + 24 * seconds_of(short)  # 8 would be linear, 64 quadratic
    assert seconds_of(short) < 0.1


def test_a_long_value_keeps_its_two_ends() -> None:
    shown = loggable("begins " + "x" * 1_000_000 + " ends")
    assert (shown[:7], shown[-5:], shown.count(CUT)) == ("begins ", " ends", 1)
    assert len(shown) <= 2 * HALF + len(CUT)
    assert loggable("x" * LONGEST) == "x" * LONGEST


@pytest.mark.parametrize("side", [LONGEST // 2, -LONGEST // 2])
@pytest.mark.parametrize("form", ["", "Bearer ", "password=", "mr_", "https://u:{}@host"])
def test_a_secret_at_the_cut_is_not_shown_in_part(side: int, form: str) -> None:
    secret = "canary" * 50
    remember(secret)
    text = form.format(secret) if "{}" in form else form + secret
    for shift in range(0, len(text) + 1, 3):
        line = [" "] * (2 * LONGEST)
        place = side % len(line) - shift
        line[place : place + len(text)] = text
        assert "can" not in loggable("".join(line)), shift
    assert len(secret) < MARGIN


@pytest.fixture
def printed() -> Iterator[io.StringIO]:
    """The log of a process with secrets in its settings."""
    root, level = logging.getLogger(), logging.getLogger().level
    before = list(root.handlers)
    settings = Settings(log_format="json", token_keys=[KEY], secret_key=SecretStr("canary-of-settings"))
    logs.configure(settings, "test")
    stream = io.StringIO()
    [handler] = root.handlers
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(stream)
    yield stream
    root.handlers, root.level = before, level
    structlog.reset_defaults()


def test_a_token_in_an_error_message_is_not_logged(printed: io.StringIO) -> None:
    vault = TokenVault([SecretStr(KEY)])
    vault.open(7, vault.seal(7, {"access_token": "canary-of-a-tenant"}))
    try:
        raise ValueError(f"no canary-of-a-tenant, canary-of-settings and {KEY} here")
    except ValueError:
        logging.getLogger("a library").exception("broken by %s", "canary-of-a-tenant")
        structlog.get_logger().exception("broken", said="canary-of-settings")
    shown = printed.getvalue()
    assert "ValueError: no [hidden], [hidden] and [hidden] here" in shown
    assert "canary" not in shown
    assert KEY not in shown
