"""Connections that send nothing or slowly keep nobody else from the console."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
import requests

from console.web.resources import THREADS
from shared.process.serving import HEADER_BYTES, HEADER_SECONDS
from tests.integration.console.api.client import token_for
from tests.integration.console.pages.conftest import Site, running_site
from tests.servers import copy_of_template

if TYPE_CHECKING:
    from collections.abc import Iterator

    from console.up.embedded import Postgres
    from tests.integration.console.console_process import Console

IDLE = 600
DRIPPING = 4 * THREADS
AT_ONCE = 2.0  # seconds; the header of a connection that sends nothing may take ten
BULK = "/api/v1/tenants/1/users/bulk"


@pytest.fixture(scope="module")
def site(postgres: Postgres, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One console for all tests, with a tenant of number 1."""
    with running_site(copy_of_template(postgres, "slow_senders"), redis_url, tmp_path_factory.mktemp("site")) as site:
        site.mailroom("tenant", "add", "Acme")
        yield site


@pytest.fixture
def console(site: Site) -> Console:
    return site.console


@pytest.fixture(scope="module")
def token(site: Site) -> str:
    """A token that may change every tenant's users."""
    return token_for(site.mailroom, "sync", "--scope", "write")


def connect(console: Console, stack: ExitStack, begin: bytes = b"") -> socket.socket:
    host, _, port = console.url.removeprefix("http://").partition(":")
    connection = stack.enter_context(socket.create_connection((host, int(port)), timeout=60))
    connection.sendall(begin)
    return connection


def seconds_of(address: str, status: int = 200) -> float:
    began = time.monotonic()
    assert requests.get(address, timeout=60).status_code == status
    return time.monotonic() - began


def test_idle_connections_cost_nothing(console: Console) -> None:
    with ExitStack() as stack:
        for _ in range(IDLE):
            connect(console, stack)
        time.sleep(0.5)
        assert seconds_of(f"{console.url}/livez") < AT_ONCE


@pytest.mark.parametrize("length", ["content-length: 10000", "content-length: 3000000", "transfer-encoding: chunked"])
def test_bodies_that_drip_hold_no_thread(console: Console, token: str, length: str) -> None:
    head = f"POST {BULK} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n"
    with ExitStack() as stack:
        for _ in range(DRIPPING):
            connect(console, stack, f"{head}{length}\r\n\r\n1\r\n".encode())
        time.sleep(0.5)
        assert seconds_of(f"{console.url}/livez") < AT_ONCE
        assert seconds_of(f"{console.url}/api/openapi.json") < AT_ONCE


@pytest.mark.parametrize(
    "begin", [b"GE", b"GET /livez HTTP/1.1\r\nhost: x\r\nx-other: a", b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n"]
)
def test_connections_without_a_whole_request_are_ended(console: Console, begin: bytes) -> None:
    """Whether the request line, the headers or the next request of the connection does not come."""
    with ExitStack() as stack:
        slow = [connect(console, stack, begin) for _ in range(DRIPPING)]
        assert seconds_of(f"{console.url}/livez") < AT_ONCE
        for connection in slow:
            connection.settimeout(2 * HEADER_SECONDS)
            while connection.recv(4096):
                pass


@pytest.mark.parametrize(("size", "status"), [(10_000, b"200"), (4 * HEADER_BYTES, b"431")])
def test_headers_are_held_up_to_a_limit(console: Console, size: int, status: bytes) -> None:
    with ExitStack() as stack:
        begin = b"GET /livez HTTP/1.1\r\nhost: x\r\nx-other: "
        connection = connect(console, stack, begin)
        connection.sendall(b"a" * size + b"\r\n\r\n")
        assert connection.recv(12) == b"HTTP/1.1 " + status


@pytest.mark.parametrize("length", ["content-length: 100", "transfer-encoding: chunked"])
def test_a_body_that_breaks_off_is_a_bad_request(console: Console, token: str, length: str) -> None:
    head = f"POST {BULK} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n{length}\r\n\r\nno chunk"
    with ExitStack() as stack:
        connection = connect(console, stack, head.encode())
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(12) == b"HTTP/1.1 400"


def test_strangers_cannot_fill_the_room_of_those_with_a_token(console: Console, token: str) -> None:
    users = [{"external_id": str(n), "name": "N", "addresses": [f"n{n}@x.example"]} for n in range(1_000)]
    with ExitStack() as stack:
        strangers = [
            connect(console, stack, f"POST {BULK} HTTP/1.1\r\nhost: x\r\ncontent-length: 4000000\r\n\r\n{{".encode())
            for _ in range(64)
        ]
        assert all(stranger.recv(12) == b"HTTP/1.1 401" for stranger in strangers)
        answer = requests.post(
            console.url + BULK, json={"users": users}, headers={"Authorization": f"Bearer {token}"}, timeout=60
        )
    assert (answer.status_code, answer.json()["added"]) == (200, 1_000)


def test_a_body_that_is_too_large_is_refused_however_it_comes(console: Console, token: str) -> None:
    head = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    mega = b" " * 2**20
    for body in (5 * mega, iter([mega] * 5)):
        answer = requests.post(console.url + BULK, data=body, headers=head, timeout=60)
        assert (answer.status_code, answer.json()["code"]) == (413, "request_entity_too_large")


def test_a_path_keeps_its_bytes(console: Console, token: str) -> None:
    address, head = f"{console.url}/api/v1/tenants/1/users/%FF", {"Authorization": f"Bearer {token}"}
    answer = requests.get(address, headers=head, timeout=60)
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, "bad_encoding")
