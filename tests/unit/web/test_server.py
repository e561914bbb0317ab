"""The event loop of the console waits for slow senders, and takes no thread for them."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from flask import Response

from console.web import __main__ as serving
from console.web.__main__ import LARGEST, SMALL, Server
from console.web.app import Apps
from shared.errors import StorageUnavailable

if TYPE_CHECKING:
    from tests.unit.web.conftest import Console

API = "/api/v1/tenants/1/users/bulk"


def scope_of(path: str, headers: dict[str, str], method: str = "POST") -> dict[str, Any]:
    """Return the scope of a request whose body has not come yet."""
    return {
        "type": "http",
        "method": method,
        "raw_path": path.encode(),
        "query_string": b"",
        "http_version": "1.1",
        "scheme": "http",
        "server": ("127.0.0.1", 8081),
        "client": ("127.0.0.1", 50000),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }


def ask(
    server: Server, path: str, headers: dict[str, str], *pieces: bytes | None, method: str = "POST"
) -> tuple[int, dict[str, str], bytes]:
    """Send a request whose body ends with the last piece, or never where that is None."""
    sent: list[dict[str, Any]] = []
    left = list(pieces)

    async def receive() -> dict[str, Any]:
        piece = left.pop(0)
        if piece is None:
            await asyncio.sleep(60)
        return {"type": "http.request", "body": piece, "more_body": bool(left)}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(server(scope_of(path, headers, method), receive, send))
    start, body = sent
    return start["status"], {name.decode(): value.decode() for name, value in start["headers"]}, body["body"]


@pytest.mark.parametrize(("path", "type_"), [(API, "application/problem+json"), ("/connect/x", "text/html")])
def test_a_body_that_does_not_come_is_408(console: Console, path: str, type_: str) -> None:
    server = Server(Apps({}, other=console()), body_seconds=0.02)
    status, headers, _ = ask(server, path, {"content-length": "20"}, b"{", None)
    assert (status, headers["Content-Type"].partition(";")[0]) == (408, type_)


@pytest.mark.parametrize("length", [{"content-length": str(SMALL + 1)}, {"transfer-encoding": "chunked"}])
def test_a_large_body_of_a_stranger_is_not_waited_for(console: Console, length: dict[str, str]) -> None:
    assert ask(Server(Apps({}, other=console())), API, length, None)[0] == 401


def test_more_requests_than_can_wait_come_back_later(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "MOST_WAITING", -serving.THREADS)
    status, headers, _ = ask(Server(Apps({}, other=console())), API, {})
    assert (status, headers["Retry-After"]) == (503, "5")


@pytest.mark.parametrize("headers", [{"content-length": str(LARGEST)}, {"transfer-encoding": "chunked"}])
def test_more_large_bodies_than_there_is_room_for_come_back_later(
    console: Console, monkeypatch: pytest.MonkeyPatch, headers: dict[str, str]
) -> None:
    monkeypatch.setattr(serving, "_has_token", lambda *_: True)
    monkeypatch.setattr(serving, "LARGE_TOGETHER", 2 * LARGEST + 100)
    server = Server(Apps({}, other=console()), body_seconds=20)

    async def status_of(size: int) -> int:
        sent: list[dict[str, Any]] = []
        pieces = [{"type": "http.request", "body": b" " * size, "more_body": True}, {"type": "http.disconnect"}]

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        async def receive() -> dict[str, Any]:
            if len(pieces) == 1:
                await asyncio.sleep(0.5)
            return pieces.pop(0)

        await server(scope_of(API, headers), receive, send)
        status: int = sent[0]["status"]
        return status

    async def requests_at_once() -> list[int]:
        large = [status_of(LARGEST // 2) for _ in range(6)]
        announced_alone = [status_of(1) for _ in range(20)]
        statuses = await asyncio.gather(*announced_alone, *large)
        return [*sorted(statuses[-6:]), max(statuses[:20]), await status_of(LARGEST // 2)]  # any two find no room

    assert asyncio.run(requests_at_once()) == [400, 400, 400, 400, 503, 503, 400, 400]


def test_a_body_that_breaks_off_is_400(console: Console) -> None:
    server = Server(Apps({}, other=console()))
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(server(scope_of(API, {"content-length": "20"}), receive, send))
    assert (sent[0]["status"], json.loads(sent[1]["body"])["code"]) == (400, "bad_request")


def test_livez_answers_while_no_thread_is_free(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "MOST_WAITING", -serving.THREADS)
    server = Server(Apps({}, other=console()))
    assert ask(server, "/api/openapi.json", {}, method="GET")[0] == 503
    assert ask(server, "/livez", {}, method="GET")[0] == 200


class Pieces:
    """The pieces of a download: so many of them, then an error if there is one. Closed by whoever takes them."""

    def __init__(self, count: int, error: Exception | None = None) -> None:
        self._left = count
        self._error = error
        self.closed = False

    def __iter__(self) -> Pieces:
        return self

    def __next__(self) -> bytes:
        if self._left == 0:
            raise self._error or StopIteration
        self._left -= 1
        return b"piece"

    def close(self) -> None:
        self.closed = True


def download(pieces: Pieces, *, length: int | None, stalls: bool = False) -> list[dict[str, Any]]:
    """Return what a server sends for these pieces, to a receiver that takes nothing after the first if it stalls."""

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [] if length is None else [("Content-Length", str(length))])
        return pieces

    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)
        if stalls and len(sent) > 2:
            await asyncio.sleep(60)

    server = Server(Apps({}, other=app))  # type: ignore[arg-type]
    asyncio.run(server(scope_of("/file", {}, "GET"), receive, send))
    assert pieces.closed
    assert server._downloads == 0
    return sent


def test_a_long_answer_is_sent_in_pieces() -> None:
    start, *bodies = download(Pieces(3), length=15)
    assert start["status"] == 200
    assert [each["body"] for each in bodies] == [b"piece", b"piece", b"piece", b""]
    assert [each.get("more_body", False) for each in bodies] == [True, True, True, False]


def test_an_answer_of_unknown_length_is_sent_in_pieces_and_ended() -> None:
    bodies = download(Pieces(2), length=None)[1:]
    assert [(each["body"], each.get("more_body", False)) for each in bodies] == [
        (b"piece", True), (b"piece", True), (b"", False),
    ]  # fmt: skip


def test_an_answer_of_one_piece_is_sent_at_once() -> None:
    start, body = download(Pieces(1), length=5)
    assert (start["status"], body["body"], body["more_body"]) == (200, b"piece", False)


def test_an_answer_that_cannot_go_on_breaks_off() -> None:
    bodies = download(Pieces(2, StorageUnavailable("away")), length=15)[1:]
    assert [each["more_body"] for each in bodies] == [True, True]


def test_a_receiver_that_takes_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "STALL_SECONDS", 0.05)
    bodies = download(Pieces(3), length=15, stalls=True)[1:]
    assert [each["more_body"] for each in bodies] == [True, True]


def test_more_downloads_than_can_be_sent_come_back_later(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    app, pieces = console(), Pieces(3)
    app.add_url_rule("/file", "file", lambda: Response(pieces, headers={"Content-Length": "15"}))  # type: ignore[arg-type]
    monkeypatch.setattr(serving, "MOST_DOWNLOADS", 0)
    status, headers, _ = ask(Server(Apps({}, other=app)), "/file", {}, method="GET")
    assert (status, headers["Retry-After"], pieces.closed) == (503, "5", True)
