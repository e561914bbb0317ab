"""The sandbox's HTTP server: one thread per connection, keep-alive, and faults down to the socket."""

from __future__ import annotations

import logging
import socket
import struct
import sys
import threading
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from sandbox.api.routes import handle_api_request
from sandbox.control.routes import handle_control_request
from sandbox.front import Front
from sandbox.http_messages import HttpError, Request, Response, WireFault, json_response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from io import BufferedIOBase

    from sandbox.settings import SandboxSettings

log = logging.getLogger("sandbox")
ELSEWHERE = "/elsewhere"
LONGEST_LINE = 65_536
SLOW_PIECES = 20
PADDING = b" " * 65_536
CHUNKED = "Transfer-Encoding: chunked"
STATUSES_WITHOUT_BODY = frozenset({204, 304})


@dataclass(frozen=True, kw_only=True)
class RunningSandbox:
    """A sandbox in a thread of this process."""

    server: Server
    thread: threading.Thread

    @property
    def port(self) -> int:
        """The port it listens on, also when the settings asked for port 0."""
        return self.server.server_port

    @property
    def url(self) -> str:
        """The base address of the API and of the control routes."""
        return self.server.front.base

    @property
    def front(self) -> Front:
        """The state behind all routes."""
        return self.server.front

    def stop(self) -> None:
        """Stop listening, sending and writing."""
        self.server.stopping.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
        self.server.front.close()


def start_in_thread(settings: SandboxSettings) -> RunningSandbox:
    """Start a sandbox that listens when this function returns. The caller has to call `stop()`."""
    server = Server(settings)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True, name="sandbox")
    thread.start()
    return RunningSandbox(server=server, thread=thread)


class Server(ThreadingHTTPServer):
    """Listens, and holds the state behind all routes."""

    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, settings: SandboxSettings) -> None:
        self.front = Front(settings)
        self.stopping = threading.Event()
        super().__init__((settings.host, settings.port), Handler)
        self.front.base = f"http://{settings.host}:{self.server_port}"
        other = "127.0.0.1" if settings.host == "localhost" else "localhost"
        self.front.elsewhere = f"http://{other}:{self.server_port}{ELSEWHERE}"

    def shutdown_request(self, request: Any) -> None:
        """Close without a shutdown after a reset: a shutdown would send an end of file instead."""
        if _will_reset(request):
            self.close_request(request)
        else:
            super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report errors, except for clients that hang up."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """Reads a request, routes it, and writes the response."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server
    connection: socket.socket
    raw_requestline: bytes

    def parse_request(self) -> bool:
        """Read an ordinary head without the email package, which takes nearly as long as the whole response."""
        words = self.raw_requestline.decode("latin-1").split()
        if len(words) != 3 or words[2] != self.protocol_version or words[1].startswith("//"):
            return super().parse_request()
        self.requestline = " ".join(words)
        self.command, self.path, self.request_version = words
        self.headers = read_head(self.rfile)  # type: ignore[assignment]  # a dict has all that is used here
        self.close_connection = self.headers.get("connection", "").lower() == "close"
        return self.headers.get("expect", "").lower() != "100-continue" or self.handle_expect_100()

    def handle_request(self) -> None:
        """Answer one request of any method. A stopping server answers none on connections kept alive."""
        if self.server.stopping.is_set():
            self.close_connection = True
            return
        length = int(self.headers.get("content-length") or 0)
        request = Request(
            method=self.command,
            target=self.path,
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self.rfile.read(length),
        )
        response = self._respond(request)
        if not write(self.connection, response, self.server.stopping):
            self.close_connection = True

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = handle_request  # noqa: N815 - http.server's names

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        """Log nothing: the ledger records every request."""

    def _respond(self, request: Request) -> Response:
        handle: Callable[[Front, Request], Response] = handle_api_request
        if request.path.startswith("/sandbox/"):
            handle = handle_control_request if self._is_on_this_machine() else _forbid
        elif request.path.startswith(f"{ELSEWHERE}/"):
            handle = _other_host
        try:
            return handle(self.server.front, request)
        except HttpError as error:
            return error.response
        except Exception:
            log.exception("%s %s", request.method, request.target)
            return json_response({"error": "the sandbox itself is broken; see its log"}, 500)

    def _is_on_this_machine(self) -> bool:
        client = self.client_address[0]
        return ip_address(client).is_loopback or client == self.connection.getsockname()[0]


def read_head(stream: BufferedIOBase) -> dict[str, str]:
    """Read headers up to the empty line. Names become lower case; the last header of a name wins."""
    head = {}
    while line := stream.readline(LONGEST_LINE).strip():
        name, _, value = line.decode("latin-1").partition(":")
        head[name.lower()] = value.strip()
    return head


def _forbid(_: Front, request: Request) -> Response:
    return json_response({"error": f"{request.path} is for this machine only"}, 403)


def _other_host(front: Front, request: Request) -> Response:
    """Stand in for a host that is not Front, and record requests that bring a token there."""
    front.ledger.record_incident("elsewhere", {"at": front.now(), "path": request.target})
    if "authorization" in request.headers:
        front.ledger.record_incident("leaked_token", {"at": front.now(), "path": request.target})
    return json_response({"elsewhere": True})


def write(connection: socket.socket, response: Response, stopping: threading.Event) -> bool:
    """Send a response, with its wire fault. True if the connection may serve another request."""
    if response.wire_fault is None:
        _send_all(connection, response)
        return True
    SPOILED[response.wire_fault](connection, response, stopping)
    return False


def _reset_on_close(connection: socket.socket) -> None:
    """Let the close of this connection send a TCP reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _will_reset(connection: socket.socket) -> bool:
    return bool(connection.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)[0])


def _head(response: Response, framing: str) -> bytes:
    """The status line and headers. `framing` is the header that says where the body ends."""
    reason = HTTPStatus(response.status).phrase
    lines = [f"HTTP/1.1 {response.status} {reason}"]
    lines += [f"{name}: {value}" for name, value in response.headers.items()]
    if response.status not in STATUSES_WITHOUT_BODY:
        lines.append(framing)
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _content_length(response: Response) -> str:
    return f"Content-Length: {response.length}"


def _first_half(response: Response) -> Iterator[bytes]:
    left = response.length // 2
    for chunk in response.chunks():
        if not left:
            return
        yield chunk[:left]
        left -= len(chunk[:left])


def _send_all(connection: socket.socket, response: Response) -> None:
    head = _head(response, _content_length(response))
    if isinstance(response.body, bytes):
        connection.sendall(head + response.body)
        return
    connection.sendall(head)
    for chunk in response.chunks():
        connection.sendall(chunk)


def _send_half(connection: socket.socket, response: Response) -> None:
    """Promise the whole body and stop in the middle of it; without a body, in the middle of the head."""
    head = _head(response, _content_length(response))
    connection.sendall(head if response.length else head[: len(head) // 2])
    for chunk in _first_half(response):
        connection.sendall(chunk)


def _send_half_chunked(connection: socket.socket, response: Response) -> None:
    """Send half of the body as chunks, and no last chunk."""
    connection.sendall(_head(response, CHUNKED))
    for chunk in _first_half(response):
        _send_chunk(connection, chunk)


def _send_unframed(connection: socket.socket, response: Response, chunks: Iterator[bytes]) -> None:
    """Send a body that ends where the connection ends."""
    connection.sendall(_head(response, "Connection: close"))
    for chunk in chunks:
        connection.sendall(chunk)


def _send_slowly(connection: socket.socket, response: Response, stopping: threading.Event) -> None:
    """Spread the body, or the head of an empty response, over the given time."""
    head = _head(response, _content_length(response))
    content = b"".join(response.chunks())
    if content:
        connection.sendall(head)
    else:
        content = head
    step = max(1, -(-len(content) // SLOW_PIECES))
    for start in range(0, len(content), step):
        if stopping.wait(response.seconds / SLOW_PIECES):
            return
        connection.sendall(content[start : start + step])


def _send_padded(connection: socket.socket, response: Response) -> None:
    """Send the body and then blanks, chunked, so that no Content-Length announces them."""
    connection.sendall(_head(response, CHUNKED))
    for chunk in response.chunks():
        _send_chunk(connection, chunk)
    for start in range(0, response.extra_bytes, len(PADDING)):
        _send_chunk(connection, PADDING[: response.extra_bytes - start])
    connection.sendall(b"0\r\n\r\n")


def _send_chunk(connection: socket.socket, chunk: bytes) -> None:
    if chunk:
        connection.sendall(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")


SPOILED: dict[WireFault, Callable[[socket.socket, Response, threading.Event], object]] = {
    "silent": lambda _, response, stopping: stopping.wait(response.seconds),
    "reset": lambda connection, *_: _reset_on_close(connection),
    "cut": lambda connection, response, _: _send_half(connection, response),
    "cut_chunked": lambda connection, response, _: _send_half_chunked(connection, response),
    "cut_unframed": lambda connection, response, _: _send_unframed(connection, response, _first_half(response)),
    "unframed": lambda connection, response, _: _send_unframed(connection, response, response.chunks()),
    "slow": _send_slowly,
    "oversized": lambda connection, response, _: _send_padded(connection, response),
}
