"""Peers on loopback that our clients may meet: TLS or a Unix socket before a real server, and a Redis Cluster."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import struct
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CLUSTER = b"# Cluster\r\ncluster_enabled:1\r\n"


#: The first eight bytes of a client of PostgreSQL that wants GSSAPI, or TLS.
GSSENC_REQUEST, SSL_REQUEST = struct.pack("!ii", 8, 80877104), struct.pack("!ii", 8, 80877103)


class Relay:
    """Passes bytes on to a server, and keeps what clients sent."""

    def __init__(self, listener: socket.socket, redis_url: str, tls: ssl.SSLContext | None = None):
        self.received = b""
        self.refused = 0
        self._listener, self._tls = listener, tls
        self.point_at(redis_url)
        threading.Thread(target=self._accept, daemon=True).start()

    def point_at(self, redis_url: str) -> None:
        """Lead new connections to this server, as a name does that was given another address; open ones stay."""
        target = urlsplit(redis_url)
        self._target = (target.hostname, target.port)

    def _connect(self) -> socket.socket:
        return socket.create_connection(self._target)

    def _greet(self, client: socket.socket) -> None:
        """Do what comes before TLS."""

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            self._greet(client)
            peer = self._tls.wrap_socket(client, server_side=True) if self._tls else client
        except OSError:  # the client does not trust our certificate
            self.refused += 1
            client.close()
            return
        with suppress(OSError), peer, self._connect() as server:
            threading.Thread(target=self._answer, args=(server, peer), daemon=True).start()
            while data := peer.recv(65536):
                self.received += data
                server.sendall(data)

    @staticmethod
    def _answer(server: socket.socket, peer: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(65536):
                peer.sendall(data)


class PostgresRelay(Relay):
    """A relay to the socket of a PostgreSQL that refuses clients without TLS."""

    def point_at(self, database_url: str) -> None:
        place = parse_qs(urlsplit(database_url).query)
        self._socket = f"{place['host'][0]}/.s.PGSQL.{place['port'][0]}"

    def _connect(self) -> socket.socket:
        server = socket.socket(socket.AF_UNIX)
        server.connect(self._socket)
        return server

    def _greet(self, client: socket.socket) -> None:
        while (request := client.recv(8, socket.MSG_WAITALL)) == GSSENC_REQUEST:
            client.sendall(b"N")
        if request != SSL_REQUEST:
            raise ConnectionError("a client without TLS")
        client.sendall(b"S")


@contextmanager
def tls_relay(url: str, folder: Path, *, name: str, kind: type[Relay] = Relay) -> Iterator[tuple[Relay, int, Path]]:
    """Give a relay with a certificate for `name` that it signed itself, its port on 127.0.0.1, and the certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    names: list[x509.GeneralName] = [x509.DNSName(name)]
    if name == "localhost":
        names.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    public, private = folder / f"{name}.pem", folder / f"{name}.key"
    public.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(public, private)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield kind(listener, url, context), listener.getsockname()[1], public


@contextmanager
def unix_relay(redis_url: str, path: Path) -> Iterator[Relay]:
    """Give a relay at a Unix socket."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        yield Relay(listener, redis_url)


@contextmanager
def tcp_relay(redis_url: str) -> Iterator[tuple[Relay, str]]:
    """Give a relay without TLS, and the URL of the same server through it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = urlsplit(redis_url)
        port = listener.getsockname()[1]
        yield Relay(listener, redis_url), url._replace(netloc=f":{url.password or ''}@127.0.0.1:{port}").geturl()


@contextmanager
def unfit_server(error: str) -> Iterator[str]:
    """Give the URL of a peer that lets everybody in, and answers all else with this error."""

    def answer(words: list[bytes]) -> bytes:
        return b"+OK\r\n" if words[0].upper() in (b"AUTH", b"SELECT", b"CLIENT") else f"-{error}\r\n".encode()

    with _peer(answer) as url:
        yield url


@contextmanager
def cluster_node() -> Iterator[str]:
    """Give the URL of a peer that answers as a node of a Redis Cluster does."""

    def answer(words: list[bytes]) -> bytes:
        return b"$%d\r\n%b\r\n" % (len(CLUSTER), CLUSTER) if words[0].upper() == b"INFO" else b"+OK\r\n"

    with _peer(answer) as url:
        yield url


@contextmanager
def _peer(answer: Callable[[list[bytes]], bytes]) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept_all, args=(listener, answer), daemon=True).start()
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"


def _accept_all(listener: socket.socket, answer: Callable[[list[bytes]], bytes]) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_answer_each_command, args=(client, answer), daemon=True).start()


def _answer_each_command(client: socket.socket, answer: Callable[[list[bytes]], bytes]) -> None:
    with suppress(OSError), client, client.makefile("rb") as lines:
        while head := lines.readline():
            client.sendall(answer([lines.read(int(lines.readline()[1:]) + 2)[:-2] for _ in range(int(head[1:]))]))
