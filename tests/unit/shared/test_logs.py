"""Each event is one log line that starts with the delivery and holds no secret; libraries' noise is filtered."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from shared.process.logs import configure, filter_libraries, log_each
from shared.process.scrub import scrub
from shared.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def _restore_logging() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers, root.level
    yield
    root.handlers, root.level = before[0], before[1]
    structlog.reset_defaults()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("Authorization: Bearer eyJhbGciOi.abc-_d", "Authorization: Bearer [hidden]"),
        ("authorization: basic dXNlcjpwYXNz", "authorization: basic [hidden]"),
        ("POST /oauth?grant=x&code=abc123&state=ok&x=y", "POST /oauth?grant=x&code=[hidden]&state=[hidden]&x=y"),
        ("GET /connect/0123456789abcdefghijklmnopqrstuvwxyz_-AB 302", "GET /connect/[hidden] 302"),
        ('{"access_token": "abc", "id": 1}', '{"access_token": "[hidden]", "id": 1}'),
        ("refresh_token=abc client_secret=def", "refresh_token=[hidden] client_secret=[hidden]"),
        ("redis://:secret@127.0.0.1:6379/0 is away", "redis://:[hidden]@127.0.0.1:6379/0 is away"),
        ("postgresql://user:secret@db/mailroom", "postgresql://user:[hidden]@db/mailroom"),
        ("sent mr_0123456789abcdefghijklmnopqrstuvwxyz_-AB", "sent [hidden]"),
        # These hold no secret
        ("code=invalid_signature", "code=invalid_signature"),
        ("fetched evt_55c8c149 in 3 ms", "fetched evt_55c8c149 in 3 ms"),
    ],
)
def test_secrets_are_taken_out(text: str, clean: str) -> None:
    assert scrub(text) == clean


def test_an_address_becomes_the_same_hash_each_time() -> None:
    scrubbed = scrub("to Nora.Lind@acme.example, cc nora.lind@ACME.example")
    assert "acme" not in scrubbed
    assert len(set(scrubbed.replace("to ", "").split(", cc "))) == 1


@pytest.mark.usefixtures("_restore_logging")
def test_the_delivery_is_the_first_word(capsys: pytest.CaptureFixture[str]) -> None:
    configure(Settings(log_format="json"), "door")
    structlog.get_logger().info("kept", place="intake", delivery_id="0" * 32)
    [line] = lines(capsys)
    assert next(iter(line.items())) == ("delivery_id", "0" * 32)
    assert (line["event"], line["process"], line["level"]) == ("kept", "door", "info")


@pytest.mark.usefixtures("_restore_logging")
def test_libraries_log_in_the_same_form(capsys: pytest.CaptureFixture[str]) -> None:
    configure(Settings(log_format="json"), "worker")
    logging.getLogger("celery.worker").warning("lost %s", "redis://:secret@cache/0")
    [line] = lines(capsys)
    assert (line["event"], line["process"]) == ("lost redis://:[hidden]@cache/0", "worker")


@pytest.mark.usefixtures("_restore_logging")
def test_a_traceback_is_one_clean_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure(Settings(log_format="json"), "worker")
    try:
        raise ValueError("Bearer abcdefghijk\nsecond line")
    except ValueError:
        structlog.get_logger().exception("failed")
    [line] = lines(capsys)
    assert "ValueError: Bearer [hidden]" in line["exception"]


@pytest.mark.usefixtures("_restore_logging")
def test_less_important_lines_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    configure(Settings(log_format="json", log_level="WARNING"), "door")
    structlog.get_logger().info("kept")
    logging.getLogger("celery").info("ready")
    assert lines(capsys) == []


@pytest.mark.usefixtures("_restore_logging")
def test_lines_for_people_begin_with_the_delivery_too(capsys: pytest.CaptureFixture[str]) -> None:
    configure(Settings(log_format="console"), "door")
    structlog.get_logger().info("kept", delivery_id="abc")
    assert "abc kept" in capsys.readouterr().err


ADVICE = "Configuration allows spawning up to 512 Python threads, which seems quite high"


@pytest.fixture(autouse=True)
def _restore_filters() -> Iterator[None]:
    yield
    filter_libraries(logging.DEBUG)
    for name in ("_granian", "celery.app.trace", "py.warnings"):
        logging.getLogger(name).setLevel(logging.NOTSET)


@pytest.mark.parametrize(
    ("name", "level", "text", "shown"),
    [
        ("_granian", logging.INFO, "Listening at: http://127.0.0.1:8080", True),
        ("_granian", logging.INFO, "Spawning worker-1 with PID: 7", False),
        ("_granian", logging.WARNING, ADVICE, False),
        ("_granian", logging.WARNING, "Killing worker-1 after it refused to gracefully stop", True),
        # Celery writes one for each task
        ("celery.app.trace", logging.INFO, "Task %(name)s[%(id)s] succeeded", False),
        ("celery.app.trace", logging.ERROR, "Task %(name)s[%(id)s] raised", True),
        # Celery warns at each lost connection
        ("py.warnings", logging.WARNING, "consumer.py:397: CPendingDeprecationWarning: In Celery 5.1 we", False),
        ("py.warnings", logging.WARNING, "consumer.py:397: ResourceWarning: unclosed socket", True),
    ],
)
def test_libraries_lines_at_info(
    name: str, level: int, text: str, shown: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    logging.getLogger(name).setLevel(logging.INFO)
    filter_libraries(logging.INFO)
    logging.getLogger(name).log(level, text)
    assert bool(caplog.records) is shown


def test_a_lost_connection_is_logged_without_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    filter_libraries(logging.INFO)
    try:
        raise ConnectionError("closed by server")
    except ConnectionError:
        logging.getLogger("celery.worker.consumer.consumer").warning("Connection to broker lost", exc_info=True)
    assert [record.exc_info for record in caplog.records] == [None]


def test_everything_is_shown_at_debug(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    filter_libraries(logging.INFO)
    filter_libraries(logging.DEBUG)
    logging.getLogger("_granian").warning(ADVICE)
    logging.getLogger("celery.app.trace").info("Task succeeded")
    assert len(caplog.records) == 2


LINE = {"event": "delivery_recorded", "delivery_id": "0" * 32, "event_id": 7, "front_id": "evt_1", "code": None}


@pytest.mark.usefixtures("_restore_logging")
def test_many_lines_have_the_form_of_single_ones(capsys: pytest.CaptureFixture[str]) -> None:
    configure(Settings(log_format="json"), "recorder")
    structlog.get_logger().info(**LINE)
    log_each([LINE, LINE])
    single, *many = lines(capsys)
    assert [list(line) for line in many] == [list(single)] * 2
    assert [line | {"timestamp": ""} for line in many] == [single | {"timestamp": ""}] * 2
    assert len(many[0]["timestamp"]) == len(single["timestamp"])


@pytest.mark.usefixtures("_restore_logging")
@pytest.mark.parametrize("log_format", ["json", "console"])
@pytest.mark.parametrize(
    "front_id",
    [
        "nora@acme.example",
        "Bearer secret-token",
        "mr_secret-0123456789-0123456789",
        "\ud800 secret=x",
        "a\nsecret",
        "x",
    ],
)
def test_many_lines_hold_no_secret_either(front_id: str, log_format: Any, capsys: pytest.CaptureFixture[str]) -> None:
    settings = Settings(log_format=log_format, secret_key="the-secret-key-of-this-test")
    configure(settings, "recorder")
    log_each([LINE, {**LINE, "front_id": front_id, "type": "the-secret-key-of-this-test"}])
    written = capsys.readouterr().err
    assert len(written.splitlines()) == 2
    assert "acme" not in written
    assert "secret-" not in written


@pytest.mark.usefixtures("_restore_logging")
def test_many_lines_are_left_out_above_info(capsys: pytest.CaptureFixture[str]) -> None:
    configure(Settings(log_format="json", log_level="WARNING"), "recorder")
    log_each([LINE])
    assert lines(capsys) == []
