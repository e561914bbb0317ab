"""At INFO each outcome of a delivery or a task is one line with its ids, and each process says that it starts."""

from __future__ import annotations

import json
import logging
from contextlib import closing
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from bench.harness.processes import wait_until
from shared.process.logs import configure
from shared.settings import Settings
from tests.integration.console.console_process import running_console
from tests.integration.door.door_process import running_door
from tests.integration.host.delivering import HostApplication, Mailroom
from tests.integration.pipeline.harness import TO_NORA, Harness
from tests.integration.pipeline.test_recording import envelope, receive
from tests.integration.start.celery_processes import COMMANDS, running, settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STARTS_WITHIN = 60.0


@pytest.fixture
def log() -> Iterator[StringIO]:
    """Log as a recorder does, into a text."""
    root = logging.getLogger()
    before = root.handlers, root.level
    configure(Settings(log_format="json"), "recorder")
    written = StringIO()
    [handler] = root.handlers
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(written)
    yield written
    root.handlers, root.level = before[0], before[1]
    structlog.reset_defaults()


def lines(log: StringIO, prefix: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in log.getvalue().splitlines()]
    return [line for line in found if line["event"].startswith(prefix)]


@pytest.mark.parametrize(
    ("event", "code", "changes"),
    [
        ("delivery_recorded", None, {}),
        ("delivery_ignored", "unknown_type", {"type": "moon_rose"}),
        ("delivery_ignored", None, {"type": "sync", "payload": {"id": None}}),
        ("delivery_parked", "unknown_company", {"authorization": {"id": "cmp_other"}}),
        ("delivery_dropped", None, {"authorization": {"id": "cmp_erased"}}),
        ("delivery_failed", "malformed_envelope", None),
    ],
)
def test_an_outcome_of_a_delivery_is_a_line(
    harness: Harness, log: StringIO, event: str, code: str | None, changes: dict[str, Any] | None
) -> None:
    tenant = harness.tenant("cmp_acme")
    harness.sql("INSERT INTO erased_companies (company_id) VALUES ('cmp_erased')")
    delivery = harness.receive(b"no JSON") if changes is None else receive(harness, **changes)
    harness.record()
    [line] = lines(log, "delivery_")
    assert list(line)[:5] == ["delivery_id", "event", "level", "timestamp", "process"]
    assert (line["delivery_id"], line["event"], line["code"]) == (delivery, event, code)
    assert (line["level"], line["process"]) == ("info", "recorder")
    events = harness.sql("SELECT id, tenant_id FROM events")
    assert [(line["event_id"], line["tenant_id"])] == (events or [(None, None)])
    assert event != "delivery_recorded" or line["tenant_id"] == tenant


def test_a_repeated_delivery_names_the_event_it_repeats(harness: Harness, log: StringIO) -> None:
    tenant = harness.tenant("cmp_acme")
    first, second = receive(harness), receive(harness)
    harness.record()
    third = receive(harness)
    harness.record()
    event = harness.one("SELECT id FROM events")
    told = [(each["event"], each["delivery_id"]) for each in lines(log, "delivery_")]
    assert told == [("delivery_recorded", first), ("delivery_repeated", second), ("delivery_repeated", third)]
    assert harness.one("SELECT count(*) FROM deliveries WHERE event_id = %s", event) == 3
    assert tenant


def test_parked_mail_is_told_again_when_its_tenant_comes(harness: Harness, log: StringIO) -> None:
    delivery = receive(harness)
    harness.record()
    harness.tenant("cmp_acme")
    harness.sweep("adopt")
    told = [(each["event"], each["delivery_id"]) for each in lines(log, "delivery_")]
    assert told == [("delivery_parked", delivery), ("delivery_adopted", delivery)]


@pytest.mark.parametrize(
    ("trouble", "event", "code"),
    [
        (None, "task_done", None),
        (("companies/cmp_acme/tokens", {"do": "revoke"}), "task_parked", "needs_reconnect"),
        (
            ("faults", {"kind": "500", "path_regex": "/conversations/", "count": 1_000}),
            "attempt_failed",
            "unclear_answer",
        ),
    ],
)
def test_an_outcome_of_a_task_is_a_line(
    harness: Harness,
    log: StringIO,
    trouble: tuple[str, dict[str, Any]] | None,
    event: str,
    code: str | None,
) -> None:
    tenant = harness.tenant("cmp_acme")
    harness.user(tenant, "nora@acme.example")
    harness.send("inbound_received", "cmp_acme", recipients=TO_NORA)
    harness.record()
    [(event_id, conversation)] = harness.sql("SELECT id, conversation_id FROM events")
    task = harness.one("SELECT id FROM tasks")
    delivery = harness.one("SELECT id FROM deliveries").hex
    if trouble:
        harness.control(*trouble)
    harness.run(task)
    [line] = lines(log, event)
    assert (line["delivery_id"], line["event_id"], line["tenant_id"]) == (delivery, event_id, tenant)
    assert (line["task_id"], line["conversation_id"], line["kind"]) == (task, conversation, "apply_action")
    assert line.get("code") == code


def test_one_id_leads_from_the_record_to_the_last_notification(
    database: str, redis_db: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: StringIO
) -> None:
    monkeypatch.setenv("ENDPOINT_NETWORKS", "127.0.0.0/8")
    monkeypatch.setenv("SECRET_KEY", "a key for the links to files in the tests")
    with HostApplication() as host, closing(Mailroom(database, redis_db, tmp_path / "files")) as mailroom:
        mailroom.connect(action="archive")
        mailroom.add_endpoint(host)
        mailroom.receive_mail(attachments=[{"filename": "a", "size": 9, "content_type": "text/plain"}])
        mailroom.work()
        mailroom.notify()
        delivery = mailroom.one("SELECT id FROM deliveries").hex
    told = [(line["event"], line.get("kind"), line["level"]) for line in lines(log, "") if "delivery_id" in line]
    assert {line["delivery_id"] for line in lines(log, "") if "delivery_id" in line} == {delivery}
    assert told == [
        ("delivery_recorded", None, "info"),
        ("task_done", "store_attachment", "info"),
        ("task_done", "apply_action", "info"),
        ("notification_sent", "notify", "info"),  # the message
        ("notification_sent", "notify", "info"),  # the action
    ]


def test_no_content_of_a_delivery_is_logged(harness: Harness, log: StringIO) -> None:
    tenant = harness.tenant("cmp_acme")
    harness.user(tenant, "nora@acme.example")
    for changes in (
        {"message": {"subject": "canary-subject", "body": "canary-body"}},
        {"type": "canary@acme.example"},
        {"payload": {"id": "Bearer canary-token\nsecond line"}},
        {"payload": {"id": "\ud800canary@acme.example"}},
        {"authorization": {"id": "mr_0123456789canary0123456789"}},
        {"payload": {"id": "x" * 100_000}},
    ):
        harness.receive(json.dumps(envelope(**changes)).encode())
    harness.record()
    harness.work()
    written = log.getvalue()
    assert "canary" not in written
    assert "acme.example" not in written
    assert written.count("delivery_") >= 6
    assert all(len(line) < 20_000 for line in written.splitlines())


@pytest.mark.parametrize("kind", COMMANDS)
def test_each_process_says_that_it_starts(kind: str, database: str, redis_db: str, tmp_path: Path) -> None:
    path = tmp_path / "log"
    with running(kind, settings(database, redis_db, tmp_path), path):
        assert wait_until(lambda: "process_starts" in path.read_text(), STARTS_WITHIN)
    check_start(path, kind)


def test_door_and_console_say_that_they_start(database: str, redis_db: str, tmp_path: Path) -> None:
    with (
        running_door(database, redis_db, tmp_path / "door"),
        running_console(tmp_path / "console", settings(database, redis_db, tmp_path)),
    ):
        pass
    check_start(tmp_path / "door", "door")
    check_start(tmp_path / "console", "console")


def check_start(path: Path, kind: str) -> None:
    """Check that all lines are of this kind of process, and that one of them has its version."""
    found = [json.loads(line) for line in path.read_text().splitlines() if line.startswith("{")]
    assert {line["process"] for line in found} == {kind}
    [start] = [line for line in found if line["event"] == "process_starts"]
    assert start["kind"] == kind
    assert start["version"][0].isdigit()
