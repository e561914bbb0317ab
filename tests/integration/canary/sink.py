"""A server on loopback in place of Sentry and of a collector of traces: it keeps what it is sent."""

from __future__ import annotations

import gzip
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.proto.trace.v1.trace_pb2 import Span

TRACES = "/v1/traces"


class Sink:
    """A server that listens until the end of the block. `bodies` has each path with a body, decompressed."""

    def __init__(self) -> None:
        self.bodies: list[tuple[str, bytes]] = []
        sink = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                sink.bodies.append((self.path, gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body))
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def url(self) -> str:
        """The URL of the server, as OTEL_EXPORTER_OTLP_ENDPOINT takes it."""
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def dsn(self) -> str:
        """The server as SENTRY_DSN takes it."""
        return f"http://publickey@127.0.0.1:{self._server.server_port}/7"

    def reports(self) -> list[dict[str, Any]]:
        """Return the events that came for Sentry: an envelope has a line of JSON for each part."""
        lines = [line for path, body in self.bodies if path != TRACES for line in body.splitlines()]
        parts = [json.loads(line) for line in lines if line.startswith(b"{")]
        return [part for part in parts if "level" in part]

    def spans(self) -> Iterator[tuple[str, Span]]:
        """Yield each span that came, with the kind of its process."""
        for path, body in self.bodies:
            if path == TRACES:
                for group in ExportTraceServiceRequest.FromString(body).resource_spans:
                    attributes = {each.key: each.value.string_value for each in group.resource.attributes}
                    for scope in group.scope_spans:
                        for span in scope.spans:
                            yield attributes["mailroom.process"], span

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
