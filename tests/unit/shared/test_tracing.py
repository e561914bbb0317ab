"""Traces are sent where a variable asks for it, and every process takes the same sample of them."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from structlog.testing import capture_logs

from shared.process import tracing
from shared.process.open_telemetry import OpenTelemetryTracer

ROOT = Path(__file__).parents[3]
AT = datetime(2026, 11, 30, 12, tzinfo=UTC)
COLLECTOR = "http://collector.example:4318"
DELIVERIES = [f"{number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128:032x}" for number in range(1, 101)]


@pytest.fixture(autouse=True)
def _no_tracer(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in (*tracing.ENDPOINTS, *tracing.PROTOCOLS, "OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER"):
        monkeypatch.delenv(name, raising=False)
    yield
    tracing.use(None)


def tracer_with(exporter: InMemorySpanExporter, kind: str = "test") -> OpenTelemetryTracer:
    return OpenTelemetryTracer(kind, SimpleSpanProcessor(exporter))


@pytest.mark.parametrize(
    ("environment", "asked"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": COLLECTOR}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{COLLECTOR}/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": COLLECTOR, "OTEL_SDK_DISABLED": "True"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": COLLECTOR, "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_SERVICE_NAME": "mailroom"}, False),
    ],
)
def test_a_collector_asks_for_traces(environment: dict[str, str], asked: bool) -> None:
    assert tracing.is_asked_for(environment) is asked


def test_without_a_collector_nothing_is_loaded_and_nothing_happens() -> None:
    look = (
        "import sys; from shared.process import tracing, error_reports; import workers.attempts.run, ingest.server\n"
        "tracing.start('door'); print(tracing.is_on(), tracing.NO_SPAN.headers(),"
        " [name for name in sys.modules if name.startswith(('opentelemetry', 'sentry_sdk'))])"
    )
    ran = subprocess.run([sys.executable, "-c", look], cwd=ROOT, capture_output=True, text=True, check=True, env={})
    assert ran.stdout == "False {} []\n"


@pytest.mark.parametrize(
    ("variables", "missing", "reason"),
    [
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, False, "OTEL_EXPORTER_OTLP_PROTOCOL is not http/protobuf"),
        ({}, True, "OpenTelemetry is not installed"),
    ],
)
def test_a_process_that_cannot_send_traces_says_so_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], missing: bool, reason: str
) -> None:
    for name, value in {"OTEL_EXPORTER_OTLP_ENDPOINT": COLLECTOR, **variables}.items():
        monkeypatch.setenv(name, value)
    if missing:
        monkeypatch.delattr("shared.process.open_telemetry")
        monkeypatch.setitem(sys.modules, "shared.process.open_telemetry", None)
    with capture_logs() as lines:
        tracing.start("worker")
    [line] = lines
    assert (line["event"], line["reason"], line["log_level"]) == ("tracing_is_off", reason, "warning")
    assert line["next"]
    assert not tracing.is_on()


def test_every_process_takes_the_same_sample_of_the_traces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.5")
    sampled = []
    for kind in ("door", "worker"):
        exporter = InMemorySpanExporter()
        tracing.use(tracer_with(exporter, kind))
        for each in DELIVERIES:
            with tracing.receive(each, AT) if kind == "door" else tracing.attempt("record", each):
                pass
        sampled.append({f"{span.context.trace_id:032x}" for span in exporter.get_finished_spans()})
    assert sampled[0] == sampled[1]
    assert 20 < len(sampled[0]) < 80


@pytest.mark.parametrize("name", ["mailroom", "mail-eu"])
def test_a_span_says_which_process_it_is_of(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    if name != "mailroom":
        monkeypatch.setenv("OTEL_SERVICE_NAME", name)
    exporter = InMemorySpanExporter()
    tracing.use(tracer_with(exporter, "worker"))
    with tracing.receive(DELIVERIES[0], AT):
        pass
    [span] = exporter.get_finished_spans()
    assert (span.resource.attributes["service.name"], span.resource.attributes["mailroom.process"]) == (name, "worker")


def test_mail_that_a_repair_found_begins_its_trace_when_it_is_recorded() -> None:
    exporter = InMemorySpanExporter()
    tracing.use(tracer_with(exporter))
    lines = [
        {"event": "delivery_recorded", "delivery_id": each, "event_id": 1, "tenant_id": 2, "code": None}
        for each in DELIVERIES[:2]
    ]
    tracing.note_recorded(lines, AT, without_door={DELIVERIES[0]})
    repaired, received = exporter.get_finished_spans()
    assert repaired.parent is None
    assert received.parent is not None
    with tracing.attempt("apply_action", DELIVERIES[0]):
        pass
    assert exporter.get_finished_spans()[-1].parent.span_id == repaired.context.span_id


def test_an_error_leaves_only_its_code() -> None:
    exporter = InMemorySpanExporter()
    tracing.use(tracer_with(exporter))
    with pytest.raises(ValueError, match="nora"), tracing.attempt("apply_action", DELIVERIES[0]):
        raise ValueError("nora@acme.example")
    [span] = exporter.get_finished_spans()
    assert span.status.description == "ValueError"
    assert "nora" not in span.to_json()


def test_a_collector_that_hangs_holds_no_process_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.process.open_telemetry.STOP_SECONDS", 0.1)
    goes_on = threading.Event()

    class Hanging(InMemorySpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            goes_on.wait(60)
            return super().export(spans)

    tracing.use(OpenTelemetryTracer("test", BatchSpanProcessor(exporter := Hanging())))
    with tracing.receive(DELIVERIES[0], AT):
        pass
    tracing.stop()
    assert exporter.get_finished_spans() == ()
    goes_on.set()


def test_what_is_done_outside_of_an_attempt_has_no_span() -> None:
    exporter = InMemorySpanExporter()
    tracing.use(tracer_with(exporter))
    with tracing.part("front.call", method="GET") as span:
        assert span.headers() == {}
    assert exporter.get_finished_spans() == ()
