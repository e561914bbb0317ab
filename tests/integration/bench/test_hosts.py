"""Hosts hear nothing of each other while they are cut off; the load balancer passes a dead door by."""

from __future__ import annotations

import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import requests

from bench.harness.network import FLOATING, Host, Network, obstacle
from bench.harness.ports import free_ports
from bench.harness.processes import wait_until
from shared.http.transport import HttpClient, NoAnswer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PORT = 5000
WITHIN = 30.0
#: A door that says its own port to whoever asks for anything.
DOOR = """
import http.server, sys
class Door(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(sys.argv[1].encode())
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Door).serve_forever()
"""

needs_hosts = pytest.mark.skipif(obstacle() is not None, reason=str(obstacle()))


@pytest.fixture
def network() -> Iterator[Network]:
    with Network() as network:
        yield network


def interfaces() -> set[str]:
    return {name for _, name in socket.if_nameindex()}


@contextmanager
def listening(host: Host) -> Iterator[socket.socket]:
    with host.entered():
        listener = socket.create_server(("0.0.0.0", PORT))
    with listener:
        listener.settimeout(WITHIN)
        yield listener


def connect(host: Host, address: str, seconds: float = WITHIN) -> socket.socket:
    with host.entered():
        return socket.create_connection((address, PORT), timeout=seconds)


@needs_hosts
def test_a_host_has_a_name_and_interfaces_of_its_own(network: Network) -> None:
    ours, name = interfaces(), socket.gethostname()
    with network.add("door-1").entered():
        assert (socket.gethostname(), interfaces()) == ("door-1", {"lo", "eth0"})
    assert (socket.gethostname(), interfaces()) == (name, ours)
    said = subprocess.run(network.add("door-2").command(["hostname"]), capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "door-2"


@needs_hosts
def test_a_host_that_is_cut_off_is_silent_and_its_connections_go_on_when_it_is_back(network: Network) -> None:
    here, there = network.add("here"), network.add("there")
    with listening(there) as listener, connect(here, there.address) as client, listener.accept()[0] as server:
        network.cut_off(there)
        with pytest.raises(TimeoutError):  # no refusal, no reset, no "unreachable"
            connect(here, there.address, 1.0)
        client.sendall(b"sent meanwhile")
        server.settimeout(0.5)
        with pytest.raises(TimeoutError):
            server.recv(1)
        network.mend(there)
        server.settimeout(WITHIN)
        assert server.recv(100) == b"sent meanwhile"
        connect(here, there.address).close()


def received(connection: socket.socket) -> bytes:
    """Return what came; nothing when the connection was reset or stays silent."""
    try:
        return connection.recv(65536)
    except (TimeoutError, ConnectionResetError):
        return b""


def head(connection: socket.socket) -> bytes:
    connection.settimeout(WITHIN)
    received = b""
    while b"\r\n\r\n" not in received:
        if not (piece := connection.recv(65536)):
            break
        received += piece
    return received


@needs_hosts
def test_a_request_that_was_given_up_while_the_network_was_away_is_not_sent_when_it_is_back(network: Network) -> None:
    here, there = network.add("here"), network.add("there")
    with listening(there) as listener, here.entered(), ThreadPoolExecutor(1) as server:
        transport = HttpClient(user_agent="test")
        url = f"http://{there.address}:{PORT}/"

        def answer_once() -> socket.socket:
            connection, _ = listener.accept()
            assert b"first" in head(connection)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            return connection

        answering = server.submit(answer_once)
        with transport.within(WITHIN), transport.open("PATCH", f"{url}first", headers={}) as response:
            assert list(transport.chunks(response)) == []  # so the connection is kept
        with answering.result() as connection:
            network.cut_off(there)
            with pytest.raises(NoAnswer), transport.within(1.0), transport.open("PATCH", f"{url}late", headers={}):
                pass
            network.mend(there)
            connection.settimeout(3.0)  # the kernel would send it again within 2 s
            assert not received(connection)


@needs_hosts
def test_the_floating_address_leads_to_the_host_that_it_was_given(network: Network) -> None:
    client, *servers = (network.add(name) for name in ("client", "first", "second"))
    for server in servers:
        network.answer_for_floating(server)
        with listening(server) as listener:
            subprocess.run([*network.lead_command(), server.address], check=True)
            connect(client, FLOATING).close()
            listener.accept()[0].close()


def test_the_balancer_passes_a_door_by_that_does_not_answer(tmp_path: Path) -> None:
    port, *doors = free_ports(3)
    listed = tmp_path / "doors"
    listed.write_text("".join(f"127.0.0.1:{door}\n" for door in doors))
    running = [subprocess.Popen([sys.executable, "-c", DOOR, str(door)]) for door in doors]
    running.append(subprocess.Popen([sys.executable, "-m", "bench.harness.balancer", str(port), str(listed)]))

    def answer() -> int | None:
        try:
            return int(requests.get(f"http://127.0.0.1:{port}/", timeout=WITHIN).text)
        except requests.ConnectionError:
            return None

    try:
        assert wait_until(lambda: {answer(), answer()} == set(doors), WITHIN)
        running[0].kill()
        running[0].wait()
        assert wait_until(lambda: [answer() for _ in range(4)] == [doors[1]] * 4, WITHIN)
        running[-1].terminate()
        assert running[-1].wait(WITHIN) == 0
    finally:
        for process in running:
            process.kill()
            process.wait()
