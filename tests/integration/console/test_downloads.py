"""A console that runs sends large files piece by piece, to slow receivers too, and pages go on meanwhile."""

from __future__ import annotations

import hashlib
import http.client
import socket
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psutil
import pytest
import requests

from bench.harness.processes import expect
from console.web.__main__ import MOST_DOWNLOADS
from shared.storage import Storage
from tests.integration.console.api.client import token_for
from tests.integration.console.console_process import Console, running_console
from tests.integration.console.rows import insert, insert_event

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import psycopg

    from tests.integration.console.conftest import Mailroom

MIB = 2**20
PIECE = bytes(range(256)) * (MIB // 256)
SIZE = 96 * MIB


@pytest.fixture
def console(web_environment: dict[str, str], tmp_path: Path) -> Iterator[Console]:
    with running_console(tmp_path / "console.log", web_environment) as console:
        yield console


@pytest.fixture
def path(conn: psycopg.Connection[Any], acme: str, tmp_path: Path) -> str:
    """The address of a stored file of SIZE bytes."""
    stored = Storage(f"file://{tmp_path}/data/files").put("1/ab/fil_1", (PIECE for _ in range(SIZE // MIB)))
    event = insert_event(conn)
    [tenant] = conn.execute("SELECT tenant_id FROM events").fetchone() or (0,)
    number = insert(
        conn, "attachments", tenant_id=tenant, event_id=event, conversation_id="cnv_1", front_id="fil_1",
        filename="large.bin", content_type="application/pdf", state="stored", size=stored.size, sha256=stored.sha256,
        path="1/ab/fil_1",
    )  # fmt: skip
    return f"/api/v1/attachments/{number}/content"


@pytest.fixture
def headers(mailroom: Mailroom) -> dict[str, str]:
    return {"Authorization": f"Bearer {token_for(mailroom, 'reader')}"}


def test_a_large_file_comes_whole_and_in_part(console: Console, path: str, headers: dict[str, str]) -> None:
    digest, size = hashlib.sha256(), 0
    with requests.get(console.url + path, headers=headers, stream=True, timeout=60) as answer:
        for piece in answer.iter_content(MIB):
            digest.update(piece)
            size += len(piece)
    assert (answer.status_code, size) == (200, SIZE)
    assert answer.headers["ETag"] == f'"{digest.hexdigest()}"'
    part = requests.get(console.url + path, headers={**headers, "Range": f"bytes={MIB - 1}-{4 * MIB}"}, timeout=60)
    assert (part.status_code, part.content == (PIECE * 5)[MIB - 1 : 4 * MIB + 1]) == (206, True)
    head = requests.head(console.url + path, headers=headers, timeout=60)
    assert (head.status_code, head.headers["Content-Length"]) == (200, str(SIZE))


@pytest.mark.skipif(sys.platform != "linux", reason="reads the memory of a process as Linux counts it")
def test_receivers_that_take_nothing_cost_little_memory_and_no_thread(
    console: Console, path: str, headers: dict[str, str]
) -> None:
    requests.get(console.url + path, headers={**headers, "Range": "bytes=0-9"}, timeout=60)
    before = memory(console)
    receivers = [begin(console, path, headers) for _ in range(MOST_DOWNLOADS)]
    try:
        with closing(begin(console, path, headers)) as refused:
            assert refused.recv(12) == b"HTTP/1.1 503"
        assert requests.get(f"{console.url}/readyz", timeout=60).status_code == 200
        assert memory(console) - before < 100
    finally:
        for receiver in receivers:
            receiver.close()
    expect(lambda: status_of_part(console, path, headers) == 206, 60, "the places are free again")


def test_a_file_that_ends_too_early_breaks_off(
    console: Console, path: str, headers: dict[str, str], tmp_path: Path
) -> None:
    with (tmp_path / "data/files/1/ab/fil_1").open("r+b") as file:
        file.truncate(10 * MIB)
    with requests.get(console.url + path, headers=headers, stream=True, timeout=60) as answer:
        assert answer.status_code == 200
        with pytest.raises((requests.exceptions.ChunkedEncodingError, http.client.IncompleteRead)):
            for _ in answer.iter_content(MIB):
                pass
    expect(lambda: "download_broken_off" in console.printed(), 30, "the log says why")


def begin(console: Console, path: str, headers: dict[str, str]) -> socket.socket:
    """Ask for a file, wait until its answer begins, and take nothing of it."""
    receiver = socket.socket()
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    receiver.settimeout(60)
    receiver.connect(("127.0.0.1", urlsplit(console.url).port))
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    receiver.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n".encode())
    assert receiver.recv(4, socket.MSG_PEEK) == b"HTTP"
    return receiver


def status_of_part(console: Console, path: str, headers: dict[str, str]) -> int:
    """Ask for a part that is sent in pieces, and return the status."""
    wanted = {**headers, "Range": f"bytes=0-{2 * MIB}"}
    return requests.get(console.url + path, headers=wanted, timeout=60).status_code


def memory(console: Console) -> int:
    """Return the resident memory of the console's processes in MiB."""
    parent = psutil.Process(console.process.pid)
    return sum(each.memory_info().rss for each in (parent, *parent.children(recursive=True))) // MIB
