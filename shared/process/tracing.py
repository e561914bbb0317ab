"""Traces of deliveries, in processes where a variable of OpenTelemetry names a collector.

The id of a trace is that of its delivery, so nothing has to travel through the stores. A trace has up to six kinds of
spans: `door.receive`, `record`, `attempt KIND`, and the parts of an attempt: `front.call`, `storage.put` and
`notify.send`. Their attributes are ids, counts, codes and statuses, and never a body, an address or a secret.

Without a collector OpenTelemetry is not imported, and every function here returns at once.
"""

from __future__ import annotations

import os
from multiprocessing.util import Finalize
from typing import TYPE_CHECKING, Protocol, Self

import structlog

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

#: One of these asks for traces.
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
PROTOCOL = "http/protobuf"
log = structlog.get_logger()


class Span(Protocol):
    """A part of a trace, which lasts as long as its `with` block. An error that leaves the block marks it as failed."""

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: object, error: BaseException | None, traceback: object, /) -> None: ...

    def note(self, *, failed: bool = False, **attributes: str | int | None) -> None:
        """Add attributes; None adds nothing."""

    def headers(self) -> Mapping[str, str]:
        """Return the HTTP headers by which the receiver of a request goes on with the trace."""


class Tracer(Protocol):
    """The functions of this module, for a process that sends traces."""

    def receive(self, delivery_id: str, began: datetime) -> Span: ...

    def note_recorded(
        self, outcomes: Iterable[Mapping[str, str | int | None]], began: datetime, *, without_door: set[str]
    ) -> None: ...

    def attempt(
        self, kind: str, delivery_id: str, *, also_for: Iterable[str], attributes: Mapping[str, str | int | None]
    ) -> Span: ...

    def part(self, name: str, attributes: Mapping[str, str | int | None]) -> Span | None: ...

    def note(self, *, failed: bool, attributes: Mapping[str, str | int | None]) -> None: ...

    def stop(self) -> None: ...


class _NoSpan:
    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def note(self, *, failed: bool = False, **attributes: str | int | None) -> None:
        """Do nothing."""

    def headers(self) -> Mapping[str, str]:
        return {}


NO_SPAN: Span = _NoSpan()
_tracers: list[Tracer] = []  # none, or the one of this process


def start(kind: str) -> None:
    """Send traces from now on, if a variable of OpenTelemetry asks for it. Call it in each forked process."""
    if not is_asked_for(os.environ):
        return
    if wrong := next((name for name in PROTOCOLS if os.environ.get(name, PROTOCOL) != PROTOCOL), None):
        log.warning("tracing_is_off", reason=f"{wrong} is not {PROTOCOL}", next="name the collector's HTTP port, 4318")
        return
    try:
        from shared.process import open_telemetry  # noqa: PLC0415 - an extra, which takes a third of a second
    except ImportError:
        log.warning("tracing_is_off", reason="OpenTelemetry is not installed", next="install mailroom[otel]")
        return
    use(open_telemetry.exporting_tracer(kind))
    Finalize(None, stop, exitpriority=0)  # children of multiprocessing run nothing that atexit knows


def is_asked_for(environment: Mapping[str, str]) -> bool:
    """Whether the variables of OpenTelemetry name a collector, and none of them turns traces off."""
    is_off = environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    is_off |= environment.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "none"
    return not is_off and any(environment.get(name, "").strip() for name in ENDPOINTS)


def use(tracer: Tracer | None) -> None:
    """Trace with this tracer from now on, or with none. One that was used before sends what it has."""
    stop()
    if tracer is not None:
        _tracers.append(tracer)


def stop() -> None:
    """Send the spans that wait, within seconds, and trace no more."""
    while _tracers:
        _tracers.pop().stop()


def is_on() -> bool:
    """Whether this process sends traces."""
    return bool(_tracers)


def receive(delivery_id: str, began: datetime) -> Span:
    """Return the span in which the door keeps a delivery. It is the root of the delivery's trace."""
    return _tracers[0].receive(delivery_id, began) if _tracers else NO_SPAN


def note_recorded(
    outcomes: Iterable[Mapping[str, str | int | None]], began: datetime, *, without_door: set[str]
) -> None:
    """Add a span to the trace of each delivery that was recorded between `began` and now.

    `outcomes`: the lines of the log about them. `without_door`: ids of the deliveries that a repair found.
    """
    if _tracers:
        _tracers[0].note_recorded(outcomes, began, without_door=without_door)


def attempt(kind: str, delivery_id: str, *, also_for: Iterable[str] = (), **attributes: str | int | None) -> Span:
    """Return the span of an attempt at a task, in the trace of its first delivery; parts and notes inside belong to it.

    `also_for`: ids of the other deliveries that the task serves; the span has a link to the trace of each.
    """
    return _tracers[0].attempt(kind, delivery_id, also_for=also_for, attributes=attributes) if _tracers else NO_SPAN


def part(name: str, **attributes: str | int | None) -> Span:
    """Return the span of a part of this thread's attempt. What is done outside of an attempt has none."""
    return (_tracers[0].part(name, attributes) if _tracers else None) or NO_SPAN


def note(*, failed: bool = False, **attributes: str | int | None) -> None:
    """Add attributes to the span of this thread's attempt."""
    if _tracers:
        _tracers[0].note(failed=failed, attributes=attributes)
