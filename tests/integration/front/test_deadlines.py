"""Answers come slowly, partly or not at all: every call ends in time, and its error tells whether it had an effect."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from shared import errors
from shared.connection.budget import Budget
from shared.front.client import FrontClient, TenantClient
from shared.http import sockets
from tests.integration.front.conftest import SHORT, token
from tests.integration.front.peers import Peer, answer, drip, silence

At = Callable[[str], TenantClient]
Peers = Callable[..., Peer]
HEAD = b"HTTP/1.1 204 No Content\r\nx-long: "


@pytest.fixture(autouse=True)
def ends_in_time() -> Iterator[None]:
    """Check that each call ends in time, with slack for busy machines. Without a deadline each would hang for ever."""
    started = time.monotonic()
    yield
    assert time.monotonic() - started < 15


@pytest.mark.parametrize(
    "script",
    [
        silence,
        drip(HEAD + b"x" * 1_000),  # the head drips
        drip(answer(body=b"x" * 1_000)),  # the body drips
        b"HTTP/1.1 100 Continue\r\n\r\n",  # nothing follows
    ],
)
def test_a_write_without_a_whole_answer_ends_at_its_deadline(at: At, peer: Peers, script: bytes) -> None:
    client = at(peer(script).url)
    with pytest.raises(errors.UnclearAnswer, match="took too long"):
        client.set_status("cnv_1", "archived")


@pytest.mark.parametrize(
    "script",
    [
        b"",
        b"HTTP",
        b"HTTP/1.1 2",
        b"HTTP/1.1 204 No Content\r\n",  # cut at the end of a line
        b"HTTP/1.1 204 No Content\r\nx-rate",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n123",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n123",
        b"no HTTP at all\r\n\r\n",
    ],
)
def test_a_write_whose_answer_is_cut_is_unclear(at: At, peer: Peers, script: bytes) -> None:
    client = at(peer(_then_close(script)).url)
    with pytest.raises(errors.UnclearAnswer):
        client.set_status("cnv_1", "archived")


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\n"])
def test_a_file_whose_head_is_cut_is_not_an_empty_file(at: At, peer: Peers, head: bytes) -> None:
    client = at(peer(_then_close(head)).url)
    with pytest.raises(errors.FrontUnavailable), client.download("fil_1", max_bytes=10):
        pytest.fail("the download was opened")


def test_a_write_to_a_closed_port_did_not_happen(at: At) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(errors.FrontUnavailable):
        at(f"http://127.0.0.1:{port}").set_status("cnv_1", "archived")


def test_an_error_names_the_class_of_its_cause_alone(at: At) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(errors.FrontUnavailable) as unavailable:
        at(f"http://127.0.0.1:{port}").me()
    assert str(unavailable.value) == "GET /me broke off (ConnectionRefusedError); it is tried again later"


def test_a_write_to_a_name_that_does_not_exist_did_not_happen(at: At) -> None:
    with pytest.raises(errors.FrontUnavailable):
        at("http://front.invalid").set_status("cnv_1", "archived")


def test_a_write_that_got_no_further_than_tls_did_not_happen(at: At, peer: Peers) -> None:
    server = peer(silence, reads_first=False)
    with pytest.raises(errors.FrontUnavailable):
        at(f"https://127.0.0.1:{server.port}").set_status("cnv_1", "archived")


def test_a_process_frozen_before_the_write_sends_nothing_late(
    at: At, peer: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, connect = peer(answer("204 No Content")), sockets.create_connection

    def thaw(*args: object, **kwargs: object) -> socket.socket:
        time.sleep(SHORT.call + 0.2)
        return connect(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(sockets, "create_connection", thaw)
    with pytest.raises(errors.FrontUnavailable):
        at(server.url).set_status("cnv_1", "archived")
    assert server.requests == []


def test_a_body_that_never_ends_is_not_read_to_the_end(at: At, peer: Peers) -> None:
    def endless(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            connection.sendall(b"100000\r\n" + b" " * 0x100000 + b"\r\n")

    with pytest.raises((errors.FrontRejected, errors.FrontUnavailable)):
        at(peer(endless).url).me()


def test_a_redirects_body_is_not_read(at: At, peer: Peers) -> None:
    head = answer("302 Found", location="/elsewhere", content_length=10**9)
    client = at(peer(head).url)
    with pytest.raises((errors.UnsafeRedirect, errors.FrontUnavailable)), client.download("fil_1", max_bytes=10):
        pytest.fail("the download was opened")


def test_a_connection_is_kept_for_the_next_call(at: At, peer: Peers) -> None:
    server = peer(answer("204 No Content"))
    client = at(server.url)
    for _ in range(3):
        client.set_status("cnv_1", "archived")
    assert (server.connections, len(server.requests)) == (1, 3)


def test_threads_do_not_share_connections(budget: Budget, peer: Peers) -> None:
    server = peer(answer(body=b'{"id": "cmp_1", "name": "Acme"}'))
    front = FrontClient(server.url, budget)
    gate = threading.Barrier(4)

    def ask() -> None:
        client = front.for_tenant(token())
        gate.wait(timeout=2)
        client.me()

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (server.connections, len(server.requests)) == (4, 4)


def test_a_kept_connection_that_was_closed_meanwhile_is_replaced(at: At, peer: Peers) -> None:
    server = peer(_then_close(answer("204 No Content")))
    client = at(server.url)
    for _ in range(2):
        client.set_status("cnv_1", "archived")
        time.sleep(0.1)
    assert len(server.requests) == 2


def test_a_compressed_answer_is_not_inflated(at: At, peer: Peers) -> None:
    server = peer(answer(body=b"\x1f\x8b\x08", content_encoding="gzip"))
    with pytest.raises(errors.FrontUnavailable):
        at(server.url).me()


def _then_close(content: bytes) -> Callable[[socket.socket], None]:
    return lambda connection: connection.sendall(content)
