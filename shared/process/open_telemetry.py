"""Spans by OpenTelemetry, sent to a collector as the OTEL_… variables say. Only `tracing` imports this module.

The root span of a delivery's trace has an id that is made from the delivery's id, too. So a recorder and a worker name
the door's span as their parent, though the door tells them nothing of it.
"""

from __future__ import annotations

import threading
from contextvars import ContextVar, Token
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

from opentelemetry import trace
from opentelemetry.context import Context, attach, detach
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from shared import installed_version
from shared.errors import MailroomError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from opentelemetry.sdk.trace import SpanProcessor

#: A process that ends waits so long for the collector.
STOP_SECONDS = 3.0
RECEIVE, RECORD = "door.receive", "record"
#: OpenTelemetry's own names for some attributes; all others begin with `mailroom.`.
CONVENTIONS = {"method": "http.request.method", "route": "url.template", "status": "http.response.status_code"}
#: The id of the delivery whose root span is started now.
_root_of: ContextVar[str] = ContextVar("_root_of", default="")


def exporting_tracer(kind: str) -> OpenTelemetryTracer:
    """Return the tracer of a process of this kind, which sends its spans to the collector from a thread of its own."""
    return OpenTelemetryTracer(kind, BatchSpanProcessor(OTLPSpanExporter()))


class _DeliveryIds(RandomIdGenerator):
    """Makes the ids of a delivery's root span from the delivery's id, and all others at random."""

    def generate_trace_id(self) -> int:
        delivery_id = _root_of.get()
        return int(delivery_id, 16) if delivery_id else super().generate_trace_id()

    def generate_span_id(self) -> int:
        delivery_id = _root_of.get()
        return _root_span_id(int(delivery_id, 16)) if delivery_id else super().generate_span_id()


def _root_span_id(trace_id: int) -> int:
    return trace_id >> 64 or 1  # 0 would be no id


class OpenTelemetryTracer:
    """The tracer of a process. Each span that ends goes to the processor."""

    def __init__(self, kind: str, processor: SpanProcessor):
        self._provider = TracerProvider(resource=_resource(kind), id_generator=_DeliveryIds(), shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("mailroom", installed_version() or "")

    def receive(self, delivery_id: str, began: datetime) -> OpenTelemetrySpan:
        """Start the root span of a delivery's trace."""
        return OpenTelemetrySpan(self._start_root(RECEIVE, delivery_id, began, SpanKind.SERVER))

    def note_recorded(
        self, outcomes: Iterable[Mapping[str, str | int | None]], began: datetime, *, without_door: set[str]
    ) -> None:
        """Add a `record` span for each outcome. It is the root where the delivery came through no door."""
        for outcome in outcomes:
            delivery_id = str(outcome["delivery_id"])
            if delivery_id in without_door:
                span = self._start_root(RECORD, delivery_id, began, SpanKind.CONSUMER)
            else:
                span = self._tracer.start_span(
                    RECORD, self._within(delivery_id), kind=SpanKind.CONSUMER, start_time=_nanoseconds(began)
                )
            with OpenTelemetrySpan(span) as recorded:
                recorded.note(
                    outcome=outcome["event"],
                    event_id=outcome["event_id"],
                    tenant_id=outcome["tenant_id"],
                    code=outcome["code"],
                )

    def attempt(
        self, kind: str, delivery_id: str, *, also_for: Iterable[str], attributes: Mapping[str, str | int | None]
    ) -> OpenTelemetrySpan:
        """Start the span of an attempt. Without a delivery it begins a trace of its own."""
        span = self._tracer.start_span(
            f"attempt {kind}",
            self._within(delivery_id) if delivery_id else Context(),
            links=[Link(self._root_context(each)) for each in also_for],
            attributes=_named(attributes),
        )
        return OpenTelemetrySpan(span, is_current=True)

    def part(self, name: str, attributes: Mapping[str, str | int | None]) -> OpenTelemetrySpan | None:
        """Start a span inside the current one; None where there is none."""
        if not trace.get_current_span().get_span_context().is_valid:
            return None
        return OpenTelemetrySpan(self._tracer.start_span(name, kind=SpanKind.CLIENT, attributes=_named(attributes)))

    def note(self, *, failed: bool, attributes: Mapping[str, str | int | None]) -> None:
        """Add attributes to the current span."""
        _note(trace.get_current_span(), failed, attributes)

    def stop(self) -> None:
        """Send what waits. A collector that does not answer holds nobody up for long."""
        sending = threading.Thread(target=self._provider.shutdown, name="last-spans", daemon=True)
        sending.start()
        sending.join(STOP_SECONDS)

    def _start_root(self, name: str, delivery_id: str, began: datetime, kind: SpanKind) -> trace.Span:
        token = _root_of.set(delivery_id)
        try:
            return self._tracer.start_span(name, Context(), kind=kind, start_time=_nanoseconds(began))
        finally:
            _root_of.reset(token)

    def _within(self, delivery_id: str) -> Context:
        """Return the context of the delivery's root span, which another process has started."""
        return set_span_in_context(NonRecordingSpan(self._root_context(delivery_id)), Context())

    def _root_context(self, delivery_id: str) -> SpanContext:
        """Return the root span's context. The sampler decides by the trace's id, so it decides as in the door."""
        trace_id = int(delivery_id, 16)
        decision = self._provider.sampler.should_sample(Context(), trace_id, RECEIVE).decision
        is_sampled = decision is Decision.RECORD_AND_SAMPLE
        flags = TraceFlags(TraceFlags.SAMPLED if is_sampled else TraceFlags.DEFAULT)
        return SpanContext(trace_id, _root_span_id(trace_id), is_remote=True, trace_flags=flags)


class OpenTelemetrySpan:
    """A span of OpenTelemetry. It keeps of an error only its code: a message may hold what somebody wrote."""

    def __init__(self, span: trace.Span, *, is_current: bool = False):
        self._span = span
        self._is_current = is_current
        self._before: Token[Context] | None = None

    def __enter__(self) -> Self:
        if self._is_current:
            self._before = attach(set_span_in_context(self._span))
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if self._before is not None:
            detach(self._before)
        if error is not None:
            code = error.code if isinstance(error, MailroomError) else type(error).__name__
            self.note(failed=True, code=code)
        self._span.end()

    def note(self, *, failed: bool = False, **attributes: str | int | None) -> None:
        """Add attributes; None adds nothing."""
        _note(self._span, failed, attributes)

    def headers(self) -> Mapping[str, str]:
        """Return `traceparent`, as W3C's Trace Context has it."""
        headers: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(headers, set_span_in_context(self._span, Context()))
        return headers


def _note(span: trace.Span, failed: bool, attributes: Mapping[str, str | int | None]) -> None:
    span.set_attributes(_named(attributes))
    if failed:
        span.set_status(Status(StatusCode.ERROR, str(attributes.get("code") or "")))


def _named(attributes: Mapping[str, str | int | None]) -> dict[str, str | int]:
    return {CONVENTIONS.get(name, f"mailroom.{name}"): value for name, value in attributes.items() if value is not None}


def _resource(kind: str) -> Resource:
    """Say who sends the spans. OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES may say otherwise."""
    found = Resource.create()
    name = str(found.attributes["service.name"])
    name = "mailroom" if name.startswith("unknown_service") else name
    own = {"service.name": name, "service.version": installed_version() or "", "mailroom.process": kind}
    return found.merge(Resource(own))


def _nanoseconds(at: datetime) -> int:
    seconds = at.astimezone(UTC).timestamp()
    return int(seconds * 1_000_000_000)
