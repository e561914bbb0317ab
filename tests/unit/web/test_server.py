"""The event loop of the console waits for slow senders, and takes no thread for them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from console.web import __main__ as serving
from console.web.__main__ import LARGE_TOGETHER, LARGEST, SMALL, Server

if TYPE_CHECKING:
    from tests.unit.web.conftest import Console

API = "/api/v1/tenants/1/users/bulk"


def scope_of(path: str, headers: dict[str, str]) -> dict[str, Any]:
    """Return the scope of a request whose body has not come yet."""
    return {
        "type": "http",
        "method": "POST",
        "raw_path": path.encode(),
        "query_string": b"",
        "http_version": "1.1",
        "scheme": "http",
        "server": ("127.0.0.1", 8081),
        "client": ("127.0.0.1", 50000),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }


def ask(server: Server, path: str, headers: dict[str, str], *pieces: bytes | None) -> tuple[int, dict[str, str], bytes]:
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

    asyncio.run(server(scope_of(path, headers), receive, send))
    start, body = sent
    return start["status"], {name.decode(): value.decode() for name, value in start["headers"]}, body["body"]


@pytest.mark.parametrize(("path", "type_"), [(API, "application/problem+json"), ("/connect/x", "text/html")])
def test_a_body_that_does_not_come_is_408(console: Console, path: str, type_: str) -> None:
    server = Server(console(), body_seconds=0.02)
    status, headers, _ = ask(server, path, {"content-length": "20"}, b"{", None)
    assert (status, headers["Content-Type"].partition(";")[0]) == (408, type_)


@pytest.mark.parametrize("length", [{"content-length": str(SMALL + 1)}, {"transfer-encoding": "chunked"}])
def test_a_large_body_of_a_stranger_is_not_waited_for(console: Console, length: dict[str, str]) -> None:
    assert ask(Server(console()), API, length, None)[0] == 401


def test_more_requests_than_can_wait_come_back_later(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "MOST_WAITING", -serving.THREADS)
    status, headers, _ = ask(Server(console()), API, {})
    assert (status, headers["Retry-After"]) == (503, "5")


def test_more_large_bodies_than_there_is_room_for_come_back_later(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "_has_token", lambda *_: True)
    server = Server(console(), body_seconds=20)

    async def requests_at_once() -> list[int]:
        statuses = []

        async def one() -> None:
            sent: list[dict[str, Any]] = []

            async def send(message: dict[str, Any]) -> None:
                sent.append(message)

            async def receive() -> dict[str, Any]:
                await asyncio.sleep(1)
                return {"type": "http.disconnect"}

            await server(scope_of(API, {"content-length": str(LARGEST)}), receive, send)
            statuses.extend(message["status"] for message in sent if "status" in message)

        await asyncio.gather(*(one() for _ in range(LARGE_TOGETHER // LARGEST + 2)))
        await one()  # there is room again
        return statuses

    assert asyncio.run(requests_at_once()) == [503, 503]
