"""The port of /metrics, /readyz and /livez (METRICS_PORT), which no proxy passes requests on to.

A process opens it with `listen`, before it forks, and answers on it with `serve`, from a thread.
"""

from __future__ import annotations

import errno
import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import structlog

from shared.errors import ConfigurationError
from shared.process import metrics
from shared.process.listen_address import listen_address

if TYPE_CHECKING:
    from shared.settings import Settings

#: Says whether the process can do its work now, with one word about each thing that it needs. May raise TimeoutError.
Ready: TypeAlias = Callable[[], tuple[bool, Mapping[str, str]]]

LIVEZ, READYZ, METRICS = PATHS = ("/livez", "/readyz", "/metrics")
EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"
BACKLOG = 64
CONNECTIONS = 32  # of one process; one more ends the oldest
SECONDS = 5.0  # for a request, and again for its answer
WORK_SECONDS = 15.0  # to find the answer; what it asks has deadlines of its own, but several things may be away at once

log = structlog.get_logger(__name__)
#: Forked processes inherit it, and share what comes in.
_listener: list[socket.socket] = []


class Page(NamedTuple):
    """The answer to a GET."""

    status: int
    content_type: str
    body: bytes


def page(path: str, ready: Ready) -> Page | None:
    """Return what a path of the private port shows; None for other paths."""
    try:
        if path == METRICS:
            return Page(200, EXPOSITION, metrics.exposition())
        if path == READYZ:
            return _readiness(ready)
    except Exception:
        log.exception("private_port_failed", path=path)
        return _problem(500, "internal_server_error", "a bug; the log says more")
    return _json(200, {"alive": True}) if path == LIVEZ else None


def _readiness(ready: Ready) -> Page:
    try:
        is_ready, checks = ready()
    except TimeoutError:
        is_ready, checks = False, {"process": "does not answer"}
    return _json(200 if is_ready else 503, {"ready": is_ready, "checks": dict(checks)})


def _json(status: int, content: Mapping[str, Any]) -> Page:
    return Page(status, "application/json", json.dumps(content).encode())


def _problem(status: int, code: str, detail: str) -> Page:
    content = {"type": "about:blank", "status": status, "title": code.replace("_", " "), "code": code, "detail": detail}
    return Page(status, "application/problem+json", json.dumps(content).encode())


def listen(settings: Settings, *, shared: bool = False) -> None:
    """Open METRICS_PORT, if it is set; 0 takes any free port. Raises ConfigurationError.

    The door's processes share the port. Any other process takes a free one where the port is taken, and logs it.
    """
    if settings.metrics_port is None:
        return
    if settings.metrics_port in {settings.port, settings.console_port}:
        raise ConfigurationError("METRICS_PORT: is PORT or CONSOLE_PORT, which a proxy forwards; set it to another one")
    address = listen_address(settings.metrics_host, setting="METRICS_HOST")
    try:
        listener = _listener_on(address, settings.metrics_port, shared=shared)
    except OSError as exc:
        if shared or exc.errno != errno.EADDRINUSE:
            raise ConfigurationError(
                f"METRICS_PORT: cannot listen on port {settings.metrics_port} of {address} ({exc.strerror}); "
                "stop the program that listens there, or set it to a free port, or to 0 for any"
            ) from None
        listener = _listener_on(address, 0, shared=False)
    _listener[:] = [listener]
    if port() != settings.metrics_port:
        log.info("metrics_port_chosen", port=port(), wanted=settings.metrics_port)


def _listener_on(address: str, number: int, *, shared: bool) -> socket.socket:
    listener = socket.create_server(
        (address, number),
        family=socket.AF_INET6 if ":" in address else socket.AF_INET,
        backlog=BACKLOG,
        reuse_port=shared,  # as Granian does: what a killed process left may hold the port for a moment
    )
    listener.settimeout(0)  # another process may have taken the connection
    return listener


def port() -> int | None:
    """Return the port that `listen` opened; None without one."""
    return int(_listener[0].getsockname()[1]) if _listener else None


def shown_on_public_port(settings: Settings) -> bool:
    """Whether a developer, who has no private port, finds its pages on the public one."""
    return settings.metrics_port is None and settings.mailroom_env == "development"


def serve(ready: Ready) -> None:
    """Answer on the port that `listen` opened, if it did, from a thread that ends with the process."""
    if _listener:
        server = _Server(_listener[0], ready)
        threading.Thread(target=server.serve_forever, name="private-port", daemon=True).start()


class _Server(ThreadingHTTPServer):
    """Python's own server, with bounds on connections and on the time of each."""

    def __init__(self, listener: socket.socket, ready: Ready) -> None:
        super().__init__(("", 0), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.ready = ready
        self._open: dict[Any, float] = {}  # in the order they came

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread. Makes room for it."""
        if len(self._open) >= CONNECTIONS:
            _cut(next(iter(self._open.copy())))
        self._open[request] = time.monotonic() + SECONDS
        super().process_request(request, client_address)

    def service_actions(self) -> None:
        """End connections that take too long; called twice a second."""
        now = time.monotonic()
        for connection, due in self._open.copy().items():
            if due < now:
                _cut(connection)

    def give_time(self, request: Any, seconds: float) -> None:
        """End the connection after so many more seconds, instead of when it was to end."""
        if request in self._open:
            self._open[request] = time.monotonic() + seconds

    def shutdown_request(self, request: Any) -> None:
        """Close the connection."""
        self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the library's signature
        """Log a bug. Nobody needs to hear of a peer that went away."""
        if not isinstance(sys.exc_info()[1], OSError):
            log.error("private_port_failed", exc_info=sys.exc_info())


def _cut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = SECONDS
    server_version = "mailroom"
    sys_version = ""

    def do_GET(self) -> None:
        self.server.give_time(self.request, WORK_SECONDS)
        found = page(self.path.partition("?")[0], self.server.ready)
        self.server.give_time(self.request, SECONDS)
        status, content_type, body = found or _problem(404, "not_found", f"this port has {', '.join(PATHS)}")
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        pass
