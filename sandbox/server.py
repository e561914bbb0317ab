"""The sandbox as a server: one thread a connection, kept alive, faults down to the socket."""

from __future__ import annotations

import logging
import sys
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from sandbox.api.gate import pass_through
from sandbox.control.desk import attend
from sandbox.front import Front
from sandbox.http_messages import Answer, Refusal, json_answer
from sandbox.incoming import Request
from sandbox.writing import will_reset, write

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from io import BufferedIOBase

    from sandbox.settings import SandboxSettings

log = logging.getLogger("sandbox")
ELSEWHERE = "/elsewhere"
LONGEST_LINE = 65_536


class Server(ThreadingHTTPServer):
    """Listens, and knows the Front behind it."""

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
        """Close without a farewell where a reset was asked for."""
        if will_reset(request):
            self.close_request(request)
        else:
            super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no error; anything else is."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def read_head(stream: BufferedIOBase) -> dict[str, str]:
    """The headers up to the empty line, by their names in lower case; of several of a name the last."""
    head = {}
    while line := stream.readline(LONGEST_LINE).strip():
        name, _, value = line.decode("latin-1").partition(":")
        head[name.lower()] = value.strip()
    return head


class Handler(BaseHTTPRequestHandler):
    """Reads a request, has it answered, writes the answer in its manner."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server
    connection: socket.socket
    raw_requestline: bytes

    def parse_request(self) -> bool:
        """Read the head of an ordinary request without the email package, which takes nearly as long as the answer."""
        words = self.raw_requestline.decode("latin-1").split()
        if len(words) != 3 or words[2] != self.protocol_version or words[1].startswith("//"):
            return super().parse_request()
        self.requestline = " ".join(words)
        self.command, self.path, self.request_version = words
        self.headers = read_head(self.rfile)  # type: ignore[assignment]  # as much of it as is asked here
        self.close_connection = self.headers.get("connection", "").lower() == "close"
        return self.headers.get("expect", "").lower() != "100-continue" or self.handle_expect_100()

    def answer_request(self) -> None:
        """One request, whatever its method; none on a connection kept alive beyond the end."""
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
        answer = self._answer(request)
        if not write(self.connection, answer, self.server.stopping):
            self.close_connection = True

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = answer_request  # noqa: N815 - http.server's names

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        """Say nothing; the ledger has it."""

    def _answer(self, request: Request) -> Answer:
        work: Callable[[Front, Request], Answer] = pass_through
        if request.path.startswith("/sandbox/"):
            work = attend if ip_address(self.client_address[0]).is_loopback else _not_here
        elif request.path.startswith(f"{ELSEWHERE}/"):
            work = _elsewhere
        try:
            return work(self.server.front, request)
        except Refusal as refusal:
            return refusal.answer
        except Exception:
            log.exception("%s %s", request.method, request.target)
            return json_answer({"error": "the sandbox itself is broken; see its log"}, 500)


def _not_here(_: Front, request: Request) -> Answer:
    return json_answer({"error": f"{request.path} is for this machine only"}, 403)


def _elsewhere(front: Front, request: Request) -> Answer:
    """A host that is not Front: note who came, and whether a token came with them."""
    front.ledger.note("elsewhere", {"at": front.now(), "path": request.target})
    if "authorization" in request.headers:
        front.ledger.note("leaked_token", {"at": front.now(), "path": request.target})
    return json_answer({"elsewhere": True})


@dataclass(frozen=True, kw_only=True)
class RunningSandbox:
    """A sandbox in a thread of this process."""

    server: Server
    thread: threading.Thread

    @property
    def port(self) -> int:
        """The port it listens on, also when 0 was asked for."""
        return self.server.server_port

    @property
    def url(self) -> str:
        """The address of API and control alike."""
        return self.server.front.base

    @property
    def front(self) -> Front:
        """The state behind it."""
        return self.server.front

    def stop(self) -> None:
        """Stop listening, sending and writing."""
        self.server.stopping.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
        self.server.front.close()


def start_in_thread(settings: SandboxSettings) -> RunningSandbox:
    """A sandbox that listens when this returns; call `stop()`."""
    server = Server(settings)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True, name="sandbox")
    thread.start()
    return RunningSandbox(server=server, thread=thread)
