"""Errors reach Sentry with their place and their ids, and without bodies, addresses, tokens and secrets."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import sentry_sdk
import structlog

from shared import installed_version
from shared.errors import FrontRejected
from shared.process import scrub
from shared.process.logs import configure
from shared.settings import Settings
from tests.integration.canary.sink import Sink

TOKEN = "canary-token-8sKq2Vx"
BODY = "canary of a body"
ADDRESS = "canary.lind@acme.example"
SECRET_KEY = "canary-secret-key-9tLw2K"
log = structlog.get_logger()


@pytest.fixture
def sink() -> Iterator[Sink]:
    """Log as a worker does that reports to a server of this test."""
    root = logging.getLogger()
    before = root.handlers, root.level
    with Sink() as sink:
        configure(Settings(log_format="json", sentry_dsn=sink.dsn, secret_key=SECRET_KEY), "worker")
        yield sink
        sentry_sdk.init(default_integrations=False, auto_enabling_integrations=False)  # patch no library
    root.handlers, root.level = before[0], before[1]
    structlog.reset_defaults()


def sent(sink: Sink) -> list[dict[str, Any]]:
    sentry_sdk.flush(timeout=30)
    return sink.reports()


def break_down(error: Exception) -> None:
    """Raise the error over local variables that are not for Sentry."""
    body, address, token = BODY, ADDRESS, TOKEN
    raise error if (body, address, token) else AssertionError


def test_no_canary_of_an_error_goes_to_sentry(sink: Sink) -> None:
    scrub.remember(TOKEN)
    try:
        try:
            break_down(KeyError(f"{BODY} {ADDRESS}"))
        except KeyError as exc:
            raise FrontRejected(f"no answer for {ADDRESS} with {TOKEN} and {SECRET_KEY}") from exc
    except FrontRejected:
        log.exception("task_failed", kind="apply_action", task_id=7, delivery_id="0" * 32, note=f"{ADDRESS} {TOKEN}")
    [report] = sent(sink)
    written = json.dumps(sink.bodies, default=repr)
    for canary in (TOKEN, BODY, ADDRESS, ADDRESS.partition("@")[2], SECRET_KEY):
        assert canary not in written
    inner, outer = report["exception"]["values"]
    assert (inner["type"], inner["value"]) == ("KeyError", "[hidden]")
    assert outer["type"] == "FrontRejected"
    assert outer["value"].startswith("no answer for address:")
    assert inner["stacktrace"]["frames"][-1]["function"] == "break_down"
    assert all("vars" not in frame for each in (inner, outer) for frame in each["stacktrace"]["frames"])
    assert report["tags"] == {"process": "worker", "event": "task_failed"}
    assert report["contexts"]["line"]["task_id"] == "7"
    assert report["contexts"]["line"]["delivery_id"] == "0" * 32
    assert report["release"] == installed_version()
    assert not sentry_sdk.get_client().options["send_default_pii"]
    assert report["breadcrumbs"] == {"values": []}
    assert {"request", "user", "modules", "extra"} & {name for name, part in report.items() if part} == set()


def test_a_bug_in_an_attempt_is_reported_with_its_traceback(sink: Sink) -> None:
    """The line of the log has no traceback then: a foreign message may hold a secret."""
    try:
        break_down(RuntimeError(TOKEN))
    except RuntimeError:
        log.error("task_failed", code="bug")  # noqa: TRY400 - as an attempt logs it
    [report] = sent(sink)
    [error] = report["exception"]["values"]
    assert (error["type"], error["value"]) == ("RuntimeError", "[hidden]")
    assert report["tags"]["event"] == "task_failed"


def test_an_error_without_an_exception_is_reported_by_its_word(sink: Sink) -> None:
    log.error("outage_began", service="front", code="front_unavailable", reason=f"no answer for {ADDRESS}")
    [report] = sent(sink)
    assert report["message"] == "outage_began"
    assert report["fingerprint"] == ["outage_began", "front_unavailable"]
    assert ADDRESS not in json.dumps(report)


def test_an_error_of_a_library_is_reported(sink: Sink) -> None:
    logging.getLogger("celery.app.trace").error("Task %s raised for %s", "mailroom.run", ADDRESS)
    [report] = sent(sink)
    assert report["message"].startswith("Task mailroom.run raised for address:")


def test_an_error_that_ends_a_thread_is_reported(sink: Sink) -> None:
    thread = threading.Thread(target=break_down, args=(RuntimeError(BODY),))
    shown, threading.excepthook = threading.excepthook, lambda _: None
    try:
        thread.start()
        thread.join()
    finally:
        threading.excepthook = shown
    [report] = sent(sink)
    assert report["exception"]["values"][-1]["value"] == "[hidden]"
    assert BODY not in json.dumps(report)


def test_lines_below_error_and_libraries_that_report_are_not_reported(sink: Sink) -> None:
    log.warning("attempt_failed", code="front_unavailable")
    logging.getLogger("sentry_sdk.errors").error("no connection")
    logging.getLogger("opentelemetry.exporter").error("no connection")
    assert sent(sink) == []


@pytest.mark.parametrize("sends_anyway", [True, False])
def test_the_line_is_logged_whatever_becomes_of_the_report(
    capsys: pytest.CaptureFixture[str], sends_anyway: bool
) -> None:
    root = logging.getLogger()
    before = root.handlers, root.level
    dsn = "http://publickey@127.0.0.1:9/7" if sends_anyway else ""
    try:
        configure(Settings(log_format="json", sentry_dsn=dsn), "worker")
        log.error("outage_began", code="front_unavailable")
        assert [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()] == ["outage_began"]
        assert len(root.handlers) == 1 + sends_anyway
    finally:
        sentry_sdk.init(default_integrations=False, auto_enabling_integrations=False)  # patch no library
        root.handlers, root.level = before[0], before[1]
        structlog.reset_defaults()
