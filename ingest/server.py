"""Serves the door's Flask application from Granian's event loop.

The loop collects a body, calls Flask, and waits until the delivery that the view left is kept; then it sends the view's
answer. So neither a slow sender nor a slow store holds a thread, and no two threads fight for the interpreter.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING

from granian.rsgi import ProtocolClosed, ProtocolError  # type: ignore[attr-defined]  # the documented names
from werkzeug.exceptions import ClientDisconnected

from ingest import door_metrics
from ingest.app import WEBHOOKS, create_app
from ingest.checks import announced, check_headers, check_size
from ingest.keeper import Deadlines, open_keeper
from ingest.minimal_flask import Hold
from ingest.rejections import RejectionLog
from shared import failpoints
from shared.errors import BodyTooSlow, DoorFull
from shared.process import metrics, private_port, service_manager, tracing
from shared.process.forwarded import forwarded, network_of
from shared.process.logs import configure
from shared.process.serving import WSGI, call, stop_with_parent, wsgi_key
from shared.rejected_requests import RejectedRequests
from shared.settings import current

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from wsgiref.types import WSGIApplication, WSGIEnvironment

    from granian.rsgi import HTTPProtocol, Scope  # type: ignore[attr-defined]  # as above

    from ingest.keeper import Keeper
    from shared.process.forwarded import Network
    from shared.process.serving import Answer

BODY_SECONDS = 10.0
SMALL = 64 * 1024  # bytes; Front's webhooks are well below
LARGE = 256 * 1024  # bytes; to sign more would keep everybody waiting
LARGE_TOGETHER = 256 * 2**20  # bytes of bodies over SMALL that one process holds at once
DRAIN_SECONDS = 3.0  # how long, and how far, the rest of a body is read after an early answer
DRAIN_BYTES = 64 * 2**20
DROPPED = "too many large bodies at once, and this one took most room for longest"
ASIDE_THREADS = 4
READY_SECONDS = 3.0  # longer than the stores need to tell that they are away


class Server:
    """A WSGI application as an RSGI application, one in each process."""

    def __init__(
        self,
        app: WSGIApplication,
        keeper: Keeper,
        bodies: Bodies,
        *,
        trusted_proxies: Sequence[Network] = (),
        shows_metrics: bool = False,
    ) -> None:
        self._app = app
        self._keeper = keeper
        self._bodies = bodies
        self._trusted_proxies = trusted_proxies
        self._aside = ThreadPoolExecutor(ASIDE_THREADS, "aside")
        self._shown = private_port.PATHS if shows_metrics else ()

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        private_port.serve(partial(self._ready, loop))
        service_manager.notify_from(loop)

    def _ready(self, loop: asyncio.AbstractEventLoop) -> tuple[bool, dict[str, str]]:
        """Answer for the readiness page, which asks from another thread than the loop's."""
        return asyncio.run_coroutine_threadsafe(self._readiness(), loop).result(READY_SECONDS)

    async def _readiness(self) -> tuple[bool, dict[str, str]]:
        """Say whether some store can keep a delivery now, and whether the schema is one in which it can be recorded.

        Webhooks are kept either way: they wait in Redis for `mailroom migrate`.
        """
        stores, schema_problem = await self._keeper.stores(), await self._keeper.schema_problem()
        checks: dict[str, str] = {name: "writable" if writable else "away" for name, writable in stores.items()}
        if schema_problem is not None:
            checks["schema"] = schema_problem
        return any(stores.values()) and schema_problem is None, checks

    async def __rsgi__(self, scope: Scope, proto: HTTPProtocol) -> None:
        if self._shown and scope.path in self._shown and scope.method in {"GET", "HEAD"}:
            await self._show(scope, proto)
            await self._bodies.drain(Body(), environ_of(scope, Hold()), proto)
            return
        hold, body = Hold(), Body()
        environ = environ_of(scope, hold, self._trusted_proxies)
        is_webhook = environ["REQUEST_METHOD"] == "POST" and environ["PATH_INFO"] == WEBHOOKS
        try:
            if is_webhook:
                await self._bodies.collect(body, environ, proto)
                environ["wsgi.input"] = BytesIO(body.content)
        except Exception as exc:  # noqa: BLE001 - Flask answers whatever it is
            hold.failure = exc
        is_unread, was_slow = not is_webhook or hold.failure is not None, isinstance(hold.failure, BodyTooSlow)
        try:
            answer = await self._answer(environ, hold, body)
        finally:
            self._bodies.release(body)
            hold.failure = None  # its traceback leads back here: the connection would wait for the garbage collector
        proto.response_bytes(*answer)
        if was_slow:
            await asyncio.sleep(DRAIN_SECONDS)  # nothing is read after a read that was cut off; the answer stays there
        elif is_unread:
            await self._bodies.drain(body, environ, proto)

    async def _answer(self, environ: WSGIEnvironment, hold: Hold, body: Body) -> Answer:
        began = time.perf_counter()
        try:
            if len(body.content) > LARGE:
                answer = await self._call_aside(environ)
            else:
                answer = call(self._app, environ)
            if hold.delivery is not None:
                self._bodies.count_as_signed(body)
                await self._keeper.keep(hold.delivery)
        except Exception as exc:  # noqa: BLE001 - as above
            hold.failure = exc
            answer = call(self._app, environ)
        if environ["PATH_INFO"] == WEBHOOKS:
            door_metrics.DOOR_SECONDS.observe(time.perf_counter() - began)
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
        return await asyncio.get_running_loop().run_in_executor(self._aside, call, self._app, environ)


class Body:
    """The body of one request. Compared by identity."""

    __slots__ = ("began", "content", "dropped", "held", "pieces", "read", "sender")

    def __init__(self) -> None:
        self.content = b""  # the whole body, when it is here
        self.pieces: list[bytes] = []
        self.read = 0  # bytes that came, of a large one
        self.held = 0  # those that take room
        self.sender = ""  # counts for this address; for none when it is signed
        self.began = 0.0
        self.dropped = False  # others need its room


class Bodies:
    """The bodies over SMALL that one process holds, in a room of `together` bytes. For the loop's thread.

    Nobody knows before its end whether a body is signed, and strangers may never end theirs. So a body that needs room
    is not refused for them: those go that took most room for longest. One address holds at most half of the room by
    bodies that are not known to be signed. Behind a proxy that TRUSTED_PROXIES does not
    name, all senders have one address and share that half.
    """

    def __init__(
        self,
        *,
        limit: int,
        together: int = LARGE_TOGETHER,
        seconds: float = BODY_SECONDS,
        drain_seconds: float = DRAIN_SECONDS,
    ) -> None:
        self._limit = limit
        self._room = together
        self._share = max(together // 2, limit)
        self._least_freed = together // 32  # at a time, as it takes a look at all bodies
        self._unfinished: set[Body] = set()
        self._held_by: dict[str, int] = {}
        self._deadlines = Deadlines(seconds)
        self._drains = Deadlines(drain_seconds)

    async def collect(self, body: Body, environ: WSGIEnvironment, proto: HTTPProtocol) -> None:
        """Wait for the body; `release` it in any case.

        Raises Refused, ClientDisconnected and DoorFull. A body announced over the limit is not read, nor one that is
        announced as large and refused by its headers; a longer one only to just behind the limit.
        """
        length = announced(environ)
        if length == 0:
            return
        check_size(length or 0, limit=self._limit)
        try:
            if length is not None and length <= SMALL:
                body.content = await self._deadlines.within(proto())
            else:
                if length is not None:
                    check_headers(environ)
                await self._deadlines.within(self._piece_by_piece(body, environ["REMOTE_ADDR"], proto))
        except TimeoutError:
            if body.dropped:
                raise DoorFull(DROPPED) from None
            raise BodyTooSlow("the body was not here in time") from None
        except (ProtocolClosed, ProtocolError):
            raise ClientDisconnected from None

    def count_as_signed(self, body: Body) -> None:
        """The body is known to be signed: it no longer counts for its sender."""
        if body.held:
            self._count(body, -body.held)
            body.sender = ""

    def release(self, body: Body) -> None:
        """The body is no longer held."""
        if body.held:
            self._room += body.held
            self._count(body, -body.held)
            body.held = 0

    async def drain(self, body: Body, environ: WSGIEnvironment, proto: HTTPProtocol) -> None:
        """Read the rest of a body after its answer, for a moment.

        Senders that read only when they have written everything would find a closed connection and no answer.
        """
        length = announced(environ)
        left = DRAIN_BYTES if length is None else min(length - body.read, DRAIN_BYTES)
        if left > 0:
            with suppress(TimeoutError, ProtocolClosed, ProtocolError):
                await self._drains.within(_skip(proto, left))

    async def _piece_by_piece(self, body: Body, address: str, proto: HTTPProtocol) -> None:
        body.sender, body.began = network_of(address), time.monotonic()
        self._unfinished.add(body)
        try:
            async for piece in proto:
                body.read += len(piece)
                check_size(body.read, limit=self._limit)
                if body.dropped:
                    raise DoorFull(DROPPED)
                body.pieces.append(piece)
                self._hold(body, len(piece))
            if body.dropped:
                raise DoorFull(DROPPED)
            body.content = b"".join(body.pieces)
        finally:
            body.pieces.clear()
            self._unfinished.discard(body)
        if body.held <= SMALL:
            self.release(body)

    def _hold(self, body: Body, size: int) -> None:
        self._room -= size
        body.held += size
        of_sender = self._count(body, size)
        if of_sender > self._share:
            self._drop(of_sender - self._share, [each for each in self._unfinished if each.sender == body.sender], body)
        if self._room < 0:
            self._drop(-self._room, self._unfinished, body)

    def _drop(self, size: int, bodies: Iterable[Body], newest: Body) -> None:
        """Drop those that took most room for longest. Raises DoorFull where that is the `newest` itself."""
        now, freed = time.monotonic(), 0
        for body in sorted(bodies, key=lambda each: each.held * (now - each.began), reverse=True):
            if freed >= max(size, self._least_freed) or body is newest:
                break
            freed += body.held
            self.release(body)
            self._unfinished.discard(body)
            body.pieces.clear()
            body.dropped = True  # its task sees it when a piece comes, or at the deadline
        if freed < size:
            raise DoorFull("too many large bodies at once")

    def _count(self, body: Body, size: int) -> int:
        """Add to what the body's sender holds, and return it."""
        if not body.sender:  # it is signed
            return 0
        held = self._held_by.get(body.sender, 0) + size
        if held:
            self._held_by[body.sender] = held
        else:
            self._held_by.pop(body.sender, None)
        return held


async def _skip(proto: HTTPProtocol, size: int) -> None:
    async for piece in proto:
        size -= len(piece)
        if size <= 0:
            return


def environ_of(scope: Scope, hold: Hold, trusted_proxies: Sequence[Network] = ()) -> WSGIEnvironment:
    """The WSGI environment of a request, without its body. A header given twice is joined by a comma."""
    host, _, port = scope.server.rpartition(":")
    environ = WSGI | {
        "REQUEST_METHOD": scope.method.upper(),
        "PATH_INFO": "/" + scope.path.encode().decode("latin-1").lstrip("/"),  # as Flask takes it
        "QUERY_STRING": scope.query_string.encode().decode("latin-1"),
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "SERVER_NAME": host,
        "SERVER_PORT": port,
        "REMOTE_ADDR": scope.client.rpartition(":")[0],
        "wsgi.url_scheme": scope.scheme,
        "wsgi.input": BytesIO(),
        Hold.KEY: hold,
    }
    for name, value in scope.headers.items():
        if key := wsgi_key(name):
            environ[key] = f"{environ[key]},{value}" if key in environ else value
    return environ | forwarded(environ, trusted_proxies) if trusted_proxies else environ


def open_door() -> Server:
    """The door, as Granian makes it in each of its processes."""
    stop_with_parent()
    settings = current()
    configure(settings, "door")
    tracing.start("door")
    failpoints.arm(settings.mailroom_crash_at)
    metrics.show(metrics.BuildInfo("door"))
    metrics.show(metrics.TenantsAtLimit(settings.redis_url.get_secret_value()))
    return Server(
        create_app(settings, rejections=RejectionLog(RejectedRequests(settings.redis_url.get_secret_value()))),
        open_keeper(settings),
        Bodies(limit=settings.max_body_bytes),
        trusted_proxies=settings.trusted_proxies,
        shows_metrics=private_port.shown_on_public_port(settings),
    )
