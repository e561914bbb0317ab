"""A host application: a process that takes notifications, answers as it is told to, and writes down what it took.

`python -m bench.harness.host_application PORT LEDGER` serves one endpoint. Signatures are judged by the package
standardwebhooks, and nothing here is Mailroom's.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import socket
import struct
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import requests
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from bench.harness.ports import free_port
from bench.harness.processes import expect

if TYPE_CHECKING:
    from bench.harness.platform import Platform

HOOK, BEHAVE, ELSEWHERE = "/hook", "/behave", "/elsewhere"
LISTENS_WITHIN = 60.0
#: The failures of a host that comes and goes: statuses, and 0 for a connection that is reset.
FLAPS = (500, 503, 429, 0)
#: How often a request that gets no answer looks whether it is still wanted.
HANGING_LOOK_SECONDS = 0.2


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """How a host application answers.

    `status` 0 resets the connection, and `hangs` leaves it without an answer. `seconds` pass before each answer.
    This share of the requests fails, each in another way. `redirects`: every answer is a 307 to another address of
    the same process, where nobody may ever come.
    """

    status: int = 204
    seconds: float = 0.0
    hangs: bool = False
    failing_share: float = 0.0
    redirects: bool = False


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request as the host application saw it; times are of the wall clock.

    `status` 0: it got no answer. `ended` is the moment before the answer was sent.
    """

    path: str
    id: str
    type: str
    event: str | None
    conversation: str | None
    position: str
    verified: bool
    began: float
    ended: float
    status: int

    @property
    def is_taken(self) -> bool:
        """Whether the answer said that the notification was taken."""
        return 200 <= self.status < 300


class HostApplication:
    """A host application on a platform, which also starts it again when it is killed. `requests` reads its ledger."""

    def __init__(self, platform: Platform, folder: Path, name: str) -> None:
        self.name = name
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}{HOOK}"
        self.secret = ""
        self._platform = platform
        self._ledger = folder / f"{name}.jsonl"
        self._settings = folder / f"{name}.json"

    def start(self) -> None:
        """Start the process, and wait until it listens."""
        self.behave()
        command = [sys.executable, "-m", "bench.harness.host_application", str(self.port), str(self._ledger)]
        self._platform.run(self.name, command, HOST_SETTINGS=str(self._settings))
        expect(self._listens, LISTENS_WITHIN, f"{self.name} listens")

    def stop(self) -> None:
        """End the process: nothing listens on its port any more. Raises AssertionError when it does not end well."""
        problems = self._platform.stop(self.name)
        assert not problems, problems

    def behave(self, **behaviour: Any) -> None:
        """Answer like this from now on, also after a start; see Behaviour."""
        settings = {"secret": self.secret, "behaviour": asdict(Behaviour(**behaviour))}
        written = self._settings.with_suffix(".new")
        written.write_text(json.dumps(settings), encoding="utf-8")
        written.replace(self._settings)
        with suppress(requests.ConnectionError):  # it reads them when it starts
            requests.post(f"http://127.0.0.1:{self.port}{BEHAVE}", timeout=30).raise_for_status()

    def requests(self) -> list[Request]:
        """Return the requests that ended so far, in the order of their beginning."""
        lines = self._ledger.read_text(encoding="utf-8").splitlines() if self._ledger.exists() else []
        return sorted((Request(**json.loads(line)) for line in lines), key=lambda each: each.began)

    def count(self) -> int:
        """Count the requests that ended so far."""
        return self._ledger.read_bytes().count(b"\n") if self._ledger.exists() else 0

    def taken(self) -> list[Request]:
        """Return those of the requests whose notification was taken."""
        return [each for each in self.requests() if each.is_taken]

    def holds_request(self) -> bool:
        """Tell whether a request waits for its answer at this moment."""
        answer = requests.get(f"http://127.0.0.1:{self.port}/", timeout=30)
        return bool(answer.json()["open"])

    def _listens(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=5):
            return True
        return False


class _Program:
    """The state of the process: its settings, its open requests, and its ledger."""

    def __init__(self, ledger: str) -> None:
        self.lock = threading.Lock()
        self.open = 0
        self.behaviour = Behaviour()
        self.webhook: Webhook | None = None
        self._ledger = Path(ledger).open("a", buffering=1, encoding="utf-8")  # noqa: SIM115 -- open until the end

    def read_settings(self) -> None:
        settings = json.loads(Path(os.environ["HOST_SETTINGS"]).read_text(encoding="utf-8"))
        self.webhook = Webhook(settings["secret"]) if settings["secret"] else None
        self.behaviour = Behaviour(**settings["behaviour"])

    def write(self, request: Request) -> None:
        line = json.dumps(asdict(request)) + "\n"
        with self.lock:
            self._ledger.write(line)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    program: ClassVar[_Program]
    server: _Server

    def do_GET(self) -> None:
        body = json.dumps({"open": self.program.open}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        began = time.time()
        body = self.rfile.read(int(self.headers["content-length"] or 0))
        if self.path == BEHAVE:
            self.program.read_settings()
            self._answer(204)
            return
        with self.program.lock:
            self.program.open += 1
        try:
            self._take(body, began)
        finally:
            with self.program.lock:
                self.program.open -= 1

    def _take(self, body: bytes, began: float) -> None:
        behaviour = self.program.behaviour
        if behaviour.hangs:
            self._hang()
        time.sleep(behaviour.seconds)
        status = 0 if behaviour.hangs else _status(behaviour)
        self.program.write(self._request(body, began, status))  # first: what it has taken it remembers
        if status:
            self._answer(status)
        else:
            self._reset()

    def _request(self, body: bytes, began: float, status: int) -> Request:
        content = json.loads(body)
        front = content["data"].get("front") or {}
        return Request(
            path=self.path,
            id=self.headers["webhook-id"],
            type=content["type"],
            event=front.get("event_id"),
            conversation=front.get("conversation_id"),
            position=content["position"],
            verified=self._is_verified(body) and content["id"] == self.headers["webhook-id"],
            began=began,
            ended=time.time(),
            status=status,
        )

    def _is_verified(self, body: bytes) -> bool:
        if self.program.webhook is None:
            return False
        try:
            self.program.webhook.verify(body, {name.lower(): value for name, value in self.headers.items()})
        except WebhookVerificationError:
            return False
        return True

    def _answer(self, status: int) -> None:
        with suppress(OSError):
            self.send_response(status)
            if status == 307:
                self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}{ELSEWHERE}")
            if status == 429:
                self.send_header("Retry-After", "1")
            if status != 204:
                self.send_header("Content-Length", "0")
            self.end_headers()

    def _hang(self) -> None:
        """Wait until the sender has given up, or this host is to answer again."""
        while self.program.behaviour.hangs:
            readable, _, _ = select.select([self.connection], [], [], HANGING_LOOK_SECONDS)
            if readable:
                return

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Print nothing: the ledger has it."""


def _status(behaviour: Behaviour) -> int:
    if behaviour.redirects:
        return 307
    return random.choice(FLAPS) if random.random() < behaviour.failing_share else behaviour.status


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True


def main(port: str, ledger: str) -> None:
    """Serve until TERM."""
    program = _Program(ledger)
    program.read_settings()
    _Handler.program = program
    server = _Server(("127.0.0.1", int(port)), _Handler)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
