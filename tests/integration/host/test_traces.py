"""One delivery on its way from the door to the host application is one trace of six kinds of spans."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from ingest.app import create_app
from ingest.keeper import Keeper, Store
from ingest.server import Bodies, Server
from shared.intake.client import AsyncIntake
from shared.models import Delivery
from shared.process import tracing
from shared.process.open_telemetry import OpenTelemetryTracer
from shared.redis_clients import asyncio_redis_connection
from shared.settings import Settings
from tests.integration.host.delivering import COMPANY, HostApplication, Mailroom
from tests.integration.pipeline.harness import NORA, TO_NORA
from tests.unit.door.conftest import webhook
from tests.unit.door.rsgi import ask

KEY = "k"
FILE = {"filename": "canary-name.txt", "size": 1_000, "content_type": "text/plain"}


@dataclass
class Captured:
    """Takes what Front sends, in place of the intake."""

    bodies: list[bytes] = field(default_factory=list)

    def put(self, deliveries: Sequence[Delivery]) -> None:
        self.bodies += [each.body for each in deliveries]


@pytest.fixture
def exporter() -> Iterator[InMemorySpanExporter]:
    """Collect the spans of this process."""
    exporter = InMemorySpanExporter()
    tracing.use(OpenTelemetryTracer("test", SimpleSpanProcessor(exporter)))
    yield exporter
    tracing.use(None)


def sent_by_front(mailroom: Mailroom) -> bytes:
    """Have Front send a mail with a file, and return the body of its webhook."""
    captured: Any = Captured()
    mailroom.door.intake = captured
    mailroom.send("inbound_received", COMPANY, recipients=TO_NORA, attachments=[FILE], subject="canary-subject")
    [body] = captured.bodies
    return body


class _OnceConnected:
    """The intake, over a connection that ends with the event loop of one request."""

    def __init__(self, redis_url: str) -> None:
        self._redis_url = redis_url

    async def put(self, deliveries: Sequence[Delivery]) -> Sequence[Exception | None]:
        connection = asyncio_redis_connection(self._redis_url)
        try:
            return (await AsyncIntake(connection, seconds=30).put(deliveries)).refusals
        finally:
            await connection.disconnect()

    async def check(self) -> None:
        raise AssertionError("the intake was never away")


def post(mailroom: Mailroom, body: bytes) -> str:
    """Send a webhook through the door's own application and keeper, and return the delivery's id."""
    intake = Store("intake", _OnceConnected(mailroom.settings.redis_url.get_secret_value()))
    door = Server(
        create_app(Settings(front_signing_keys=[KEY])),
        Keeper(intake=intake, spool=intake, seconds=60),
        Bodies(limit=2**20),
    )
    answer = ask(door, webhook(body, at=str(int(time.time() * 1000)), key=KEY), body)
    assert answer.status == 200, answer.body
    return answer.json["delivery_id"]


def of(spans: Sequence[ReadableSpan], name: str) -> list[ReadableSpan]:
    return [span for span in spans if span.name == name]


def test_a_delivery_is_one_trace_from_the_door_to_the_host(
    mailroom: Mailroom, host: HostApplication, exporter: InMemorySpanExporter
) -> None:
    mailroom.connect(action="archive")
    mailroom.add_endpoint(host)
    delivery = post(mailroom, sent_by_front(mailroom))
    mailroom.record()
    mailroom.work()
    assert mailroom.notify() == 2  # the message, and the action
    spans = [span for span in exporter.get_finished_spans() if span.context.trace_id == int(delivery, 16)]
    assert {span.name for span in spans} == {
        "door.receive",
        "record",
        "attempt store_attachment",
        "attempt apply_action",
        "attempt notify",
        "front.call",
        "storage.put",
        "notify.send",
    }
    [door], [record] = of(spans, "door.receive"), of(spans, "record")
    assert door.parent is None
    attempts = [span for span in spans if span.name.startswith("attempt ")]
    assert {span.parent.span_id for span in [record, *attempts] if span.parent} == {door.context.span_id}
    parts = [span for span in spans if span.name in {"front.call", "storage.put", "notify.send"}]
    assert {span.parent.span_id for span in parts if span.parent} == {each.context.span_id for each in attempts}
    assert {span.status.status_code for span in spans} == {StatusCode.UNSET}
    assert door.attributes == {"mailroom.place": "intake", "mailroom.size": door.attributes["mailroom.size"]}
    assert record.attributes["mailroom.outcome"] == "delivery_recorded"
    [archive] = of(spans, "attempt apply_action")
    assert archive.attributes["mailroom.outcome"] == "task_done"
    assert ("PATCH", 204) in {
        (span.attributes["http.request.method"], span.attributes["http.response.status_code"])
        for span in of(spans, "front.call")
    }
    sends = {f"00-{delivery}-{span.context.span_id:016x}-01" for span in of(spans, "notify.send")}
    assert {each["traceparent"] for each in host.received()} == sends


def test_spans_hold_no_content(mailroom: Mailroom, host: HostApplication, exporter: InMemorySpanExporter) -> None:
    tenant = mailroom.connect(action="archive")
    mailroom.add_endpoint(host, include="html")
    post(mailroom, sent_by_front(mailroom))
    mailroom.record()
    mailroom.control(f"companies/{COMPANY}/tokens", {"do": "revoke"})
    mailroom.work()
    mailroom.notify()
    written = json.dumps([json.loads(span.to_json()) for span in exporter.get_finished_spans()])
    token = mailroom.resources.vault.open(tenant, mailroom.one("SELECT secret FROM connections"))["access_token"]
    assert "needs_reconnect" in written
    for secret in ("canary", NORA, "elsewhere.example", token, mailroom.secret, host.url):
        assert secret not in written


def test_a_task_that_serves_several_deliveries_is_linked_to_each(
    mailroom: Mailroom, exporter: InMemorySpanExporter
) -> None:
    mailroom.connect(action="archive")
    body = sent_by_front(mailroom)
    first, second = post(mailroom, body), post(mailroom, body)
    mailroom.record()
    mailroom.work()
    spans = exporter.get_finished_spans()
    [archive] = of(spans, "attempt apply_action")
    assert archive.context.trace_id == int(first, 16)
    assert [link.context.trace_id for link in archive.links] == [int(second, 16)]
    [door] = [span for span in of(spans, "door.receive") if span.context.trace_id == int(second, 16)]
    assert archive.links[0].context.span_id == door.context.span_id
    assert [each.attributes["mailroom.outcome"] for each in of(spans, "record")] == [
        "delivery_recorded",
        "delivery_repeated",
    ]


def test_a_failed_attempt_is_marked_with_its_code(mailroom: Mailroom, exporter: InMemorySpanExporter) -> None:
    mailroom.connect(action="archive")
    post(mailroom, sent_by_front(mailroom))
    mailroom.record()
    mailroom.control("faults", {"kind": "500", "path_regex": "/download/", "count": 1_000})
    [task] = [task for (task,) in mailroom.sql("SELECT id FROM tasks WHERE kind = 'store_attachment'")]
    mailroom.run(task)
    spans = exporter.get_finished_spans()
    [attempt] = of(spans, "attempt store_attachment")
    assert (attempt.status.status_code, attempt.status.description) == (StatusCode.ERROR, "front_unavailable")
    assert {span.attributes["http.response.status_code"] for span in of(spans, "front.call")} == {500}
    assert {span.status.status_code for span in of(spans, "front.call")} == {StatusCode.ERROR}


def test_without_a_collector_notifications_carry_no_trace(mailroom: Mailroom, host: HostApplication) -> None:
    mailroom.connect(action="none")
    mailroom.add_endpoint(host)
    mailroom.receive_mail()
    assert mailroom.notify() == 1
    assert [each["traceparent"] for each in host.received()] == [None]
