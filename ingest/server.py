"""Serves the door's Flask application from Granian's event loop.

The loop collects a body, calls Flask, and waits until the delivery that the view left is kept; then it sends the view's
answer. So neither a slow sender nor a slow store holds a thread, and no two threads fight for the interpreter.
"""

from __future__ import annotations

import asyncio
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from io import BytesIO
from typing import TYPE_CHECKING, Any, TypeAlias

from granian.rsgi import ProtocolClosed, ProtocolError  # type: ignore[attr-defined]  # the documented names
from werkzeug.exceptions import ClientDisconnected

from ingest.app import WEBHOOKS, create_app
from ingest.checks import check_size
from ingest.keeper import Deadlines, open_keeper
from ingest.minimal_flask import Hold
from shared import failpoints
from shared.errors import BodyTooSlow, DoorFull
from shared.process import metrics, private_port
from shared.process.logs import configure
from shared.settings import current

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication, WSGIEnvironment

    from granian.rsgi import HTTPProtocol, Scope  # type: ignore[attr-defined]  # as above

    from ingest.keeper import Keeper

    Answer: TypeAlias = tuple[int, list[tuple[str, str]], bytes]

BODY_SECONDS = 10.0
SMALL = 64 * 1024  # bytes; Front's webhooks are well below
LARGE = 256 * 1024  # bytes; to sign more would keep everybody waiting
LARGE_TOGETHER = 256 * 2**20  # bytes of bodies over SMALL that one process holds at once
ASIDE_THREADS = 4
ASIDE_WAITING = 64
READY_SECONDS = 3.0  # longer than the stores need to tell that they are away

ALWAYS: dict[str, Any] = {
    "SCRIPT_NAME": "",
    "wsgi.version": (1, 0),
    "wsgi.errors": sys.stderr,
    "wsgi.input_terminated": True,  # the input ends where the body does, also without Content-Length
    "wsgi.multithread": True,
    "wsgi.multiprocess": True,
    "wsgi.run_once": False,
}


class Server:
    """A WSGI application as an RSGI application, one in each process."""

    def __init__(
        self,
        app: WSGIApplication,
        keeper: Keeper,
        *,
        max_body_bytes: int,
        body_seconds: float = BODY_SECONDS,
        shows_metrics: bool = False,
    ) -> None:
        self._app = app
        self._keeper = keeper
        self._bodies = Bodies(limit=max_body_bytes, seconds=body_seconds)
        self._aside = ThreadPoolExecutor(ASIDE_THREADS, "aside")
        self._waiting_aside = 0
        self._shown = private_port.PATHS if shows_metrics else ()

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        private_port.serve(partial(self._ready, loop))

    def _ready(self, loop: asyncio.AbstractEventLoop) -> tuple[bool, dict[str, str]]:
        """Whether some store can keep a delivery now; for another thread than the loop's."""
        stores = asyncio.run_coroutine_threadsafe(self._keeper.stores(), loop).result(READY_SECONDS)
        return any(stores.values()), {name: "writable" if stores[name] else "away" for name in stores}

    async def __rsgi__(self, scope: Scope, proto: HTTPProtocol) -> None:
        if self._shown and scope.path in self._shown and scope.method in {"GET", "HEAD"}:
            await self._show(scope, proto)
            return
        hold, body = Hold(), b""
        try:
            body = await self._bodies.collect(scope, proto)
        except Exception as exc:  # noqa: BLE001 - Flask answers whatever it is
            hold.failure = exc
        try:
            answer = await self._answer(environ_of(scope, body, hold), hold, len(body))
        finally:
            self._bodies.release(body)
        proto.response_bytes(*answer)

    async def _answer(self, environ: WSGIEnvironment, hold: Hold, size: int) -> Answer:
        began, path = time.perf_counter(), environ["PATH_INFO"]
        try:
            if size > LARGE:
                answer = await self._call_aside(environ)
            else:
                answer = call(self._app, environ)
            if hold.delivery is not None:
                await self._keeper.keep(hold.delivery)
        except Exception as exc:  # noqa: BLE001 - as above
            hold.failure = exc
            answer = call(self._app, environ)
        if path == WEBHOOKS:
            metrics.DOOR_SECONDS.observe(time.perf_counter() - began)
        return answer

    async def _show(self, scope: Scope, proto: HTTPProtocol) -> None:
        """Answer as the private port would."""
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(None, private_port.page, scope.path, partial(self._ready, loop))
        assert found is not None  # noqa: S101 - for mypy: it is one of the private port's paths
        body = found.body if scope.method == "GET" else b""
        proto.response_bytes(found.status, [("Content-Type", found.content_type)], body)

    async def _call_aside(self, environ: WSGIEnvironment) -> Answer:
        """In a thread, as it would keep everybody waiting: it goes over megabytes."""
        if self._waiting_aside >= ASIDE_WAITING:
            raise DoorFull("too many such requests at once")
        self._waiting_aside += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._aside, call, self._app, environ)
        finally:
            self._waiting_aside -= 1


class Bodies:
    """The bodies that one process holds. For the loop's thread."""

    def __init__(self, *, limit: int, together: int = LARGE_TOGETHER, seconds: float = BODY_SECONDS) -> None:
        self._limit = limit
        self._room = together
        self._deadlines = Deadlines(seconds)

    async def collect(self, scope: Scope, proto: HTTPProtocol) -> bytes:
        """Wait for the body; give it back to `release`.

        Raises BodyTooLarge, BodyTooSlow, ClientDisconnected and DoorFull. A body announced over the limit is not read,
        a longer one only to just behind it.
        """
        length = scope.headers.get("content-length")
        if length is None and "transfer-encoding" not in scope.headers:
            return b""
        check_size(int(length or 0), limit=self._limit)
        try:
            return await self._deadlines.within(
                proto() if length is not None and int(length) <= SMALL else self._piece_by_piece(proto)
            )
        except TimeoutError:
            raise BodyTooSlow("the body was not here in time") from None
        except (ProtocolClosed, ProtocolError):
            raise ClientDisconnected from None

    def release(self, body: bytes) -> None:
        """The body is no longer held."""
        if len(body) > SMALL:
            self._room += len(body)

    async def _piece_by_piece(self, proto: HTTPProtocol) -> bytes:
        pieces: list[bytes] = []
        size = 0
        try:
            async for piece in proto:
                size += len(piece)
                self._room -= len(piece)
                pieces.append(piece)
                if self._room < 0:
                    raise DoorFull("too many large bodies at once")
                check_size(size, limit=self._limit)
        finally:
            self._room += size
        body = b"".join(pieces)
        if size > SMALL:
            self._room -= size
        return body


def environ_of(scope: Scope, body: bytes, hold: Hold) -> WSGIEnvironment:
    """The WSGI environment of a request whose body is here. A header given twice is joined by a comma."""
    host, _, port = scope.server.rpartition(":")
    environ = ALWAYS | {
        "REQUEST_METHOD": scope.method,
        "PATH_INFO": scope.path.encode().decode("latin-1"),
        "QUERY_STRING": scope.query_string.encode().decode("latin-1"),
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "SERVER_NAME": host,
        "SERVER_PORT": port,
        "REMOTE_ADDR": scope.client.rpartition(":")[0],
        "wsgi.url_scheme": scope.scheme,
        "wsgi.input": BytesIO(body),
        Hold.KEY: hold,
    }
    for name, value in scope.headers.items():
        if key := _key(name):
            environ[key] = f"{environ[key]},{value}" if key in environ else value
    return environ


@lru_cache(maxsize=256)  # names are the sender's choice
def _key(name: str) -> str:
    """The WSGI name of a header; empty for one with an underscore, which could pass itself off as another."""
    if "_" in name:
        return ""
    key = name.upper().replace("-", "_")
    return key if key in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{key}"


def call(app: WSGIApplication, environ: WSGIEnvironment) -> Answer:
    """Run a WSGI application to its end."""
    started: list[Any] = []

    def start_response(*status_and_headers: Any) -> Any:
        started[:] = status_and_headers[:2]

    pieces: Any = app(environ, start_response)
    try:
        body = b"".join(pieces)
    finally:
        if hasattr(pieces, "close"):
            pieces.close()
    status, headers = started
    return int(status[:3]), headers, body


def open_door() -> Server:
    """The door, as Granian makes it in each of its processes."""
    settings = current()
    configure(settings, "door")
    failpoints.arm(settings.mailroom_crash_at)
    return Server(
        create_app(settings),
        open_keeper(settings),
        max_body_bytes=settings.max_body_bytes,
        shows_metrics=private_port.shown_on_public_port(settings),
    )
