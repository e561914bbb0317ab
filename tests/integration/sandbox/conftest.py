"""A door that can fail, and sandboxes that send webhooks to it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests

from sandbox.server import RunningSandbox, start_in_thread
from sandbox.settings import SandboxSettings

KEY = "signing-key-of-the-tests"


@dataclass
class Door:
    """A receiver of webhooks. It answers with `statuses` first, and then always with 200."""

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    received: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        with self.lock:
            self.received.append((headers, body))
            status = self.statuses.pop(0) if self.statuses else 200
        return status, json.dumps({"challenge": headers.get("x-front-challenge")}).encode()


@pytest.fixture
def door() -> Iterator[Door]:
    door = Door()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, answer = door.take({name.lower(): value for name, value in self.headers.items()}, body)
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    door.url = f"http://127.0.0.1:{server.server_port}/webhooks/front"
    yield door
    server.shutdown()
    server.server_close()


class Client:
    """A client of a sandbox, as a test (`control`) and as the company's app (`call`)."""

    def __init__(self, running: RunningSandbox) -> None:
        self.running = running
        self.session = requests.Session()
        self.company = self.create_company("cmp_kettle", "Blue Kettle")

    def control(self, method: str, path: str, /, **body: Any) -> Any:
        answer = self.session.request(method, f"{self.running.url}/sandbox{path}", json=body)
        assert answer.ok, answer.text
        return answer.json()

    def create_company(self, company_id: str, name: str) -> Any:
        return self.control("POST", "/companies", id=company_id, name=name)

    def send(self, application_type: str = "inbound_received", **words: Any) -> list[Any]:
        request = {"type": application_type, "company": "cmp_kettle", **words}
        events: list[Any] = self.control("POST", "/send", **request)["events"]
        return events

    def fault(self, kind: str, **words: Any) -> None:
        self.control("POST", "/faults", kind=kind, **words)

    def call(self, method: str, path: str, token: str | None = None, **more: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {token or self.company['api_token']}"}
        more = {"allow_redirects": False, "timeout": 5, **more}
        return self.session.request(method, self.running.url + path, headers=headers, **more)

    def verdict(self) -> Any:
        return self.control("GET", "/verdict")


Start = Callable[..., Client]


@pytest.fixture
def start(door: Door) -> Iterator[Start]:
    """Start a sandbox with high limits, or with the given ones."""
    clients: list[Client] = []

    def start(**settings: Any) -> Client:
        usual: dict[str, Any] = {
            "port": 0,
            "requests_per_minute": 0,
            "burst_per_second": 0,
            "retry_seconds": 0.05,
            "seed": 1,
        }
        running = start_in_thread(SandboxSettings(**{"door": door.url, "signing_key": KEY, **usual, **settings}))
        clients.append(Client(running))
        return clients[-1]

    yield start
    for client in clients:
        client.session.close()
        client.running.stop()


@pytest.fixture
def client(start: Start) -> Client:
    return start()
