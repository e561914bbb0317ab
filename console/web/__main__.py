"""Serve the console: `python -m console.web`.

Granian starts a process and imports this module there a second time, by its name, to call `application`. The module
only defines things, so that the second import changes nothing.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from multiprocessing.util import Finalize
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import unquote_to_bytes

import structlog
from granian.constants import Interfaces
from werkzeug.exceptions import ClientDisconnected, RequestTimeout, ServiceUnavailable

from console.api.blueprint import LARGE_BODIES, find_bearer
from console.api.problems import Unauthorized
from console.installation_metrics import InstallationMetrics
from console.web.app import FAILURE, LIVEZ, create_apps
from console.web.problems import RETRY_AFTER
from console.web.resources import REQUIRED_SETTINGS, THREADS, open_resources, require_usable
from shared.errors import ConfigurationError, MailroomError
from shared.process import metrics, private_port, readiness, service_manager
from shared.process.forwarded import forwarded
from shared.process.heartbeat import Heartbeat
from shared.process.logs import configure, log_start
from shared.process.serving import (
    WSGI,
    begin,
    call,
    close,
    prepare_forks,
    server,
    stop_with_parent,
    when_told_to_stop,
    wsgi_key,
)
from shared.redis_clients import refuse_redis_cluster
from shared.settings import current

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from wsgiref.types import WSGIEnvironment

    from flask import Flask

    from console.web.app import Apps
    from shared.process.forwarded import Network

    Scope = dict[str, Any]
    Receive = Callable[[], Awaitable[dict[str, Any]]]
    Send = Callable[[dict[str, Any]], Awaitable[None]]

T = TypeVar("T")
log = structlog.get_logger(__name__)

EXIT_CONFIGURATION = 78
MODULE = "console.web"  # in WEB_MODULE
MOST_WAITING = 1024  # requests beyond those that the threads answer
BODY_SECONDS = 30.0
SMALL = 16 * 1024  # bytes; a larger body is taken from those who have a token
LARGEST = max(LARGE_BODIES.values())
LARGE_TOGETHER = 64 * 2**20  # bytes of bodies over SMALL that are held at once, as far as they have come
MOST_DOWNLOADS = 32  # answers that are sent in pieces at once; each holds a few pieces in memory
DOWNLOAD_THREADS = 4  # read the next pieces
STALL_SECONDS = 60.0  # a receiver takes no piece for so long: it is gone


def main() -> int:
    """Serve until TERM or INT (0); return 78 if the settings are wrong."""
    try:
        _serve()
    except ConfigurationError as exc:
        print(exc, file=sys.stderr)
        return EXIT_CONFIGURATION
    return 0


def _serve() -> None:
    settings = require_usable(current(*REQUIRED_SETTINGS))
    refuse_redis_cluster(settings.redis_url.get_secret_value())
    configure(settings, "console")
    log_start("console")
    private_port.listen(settings)
    prepare_forks()
    server(
        "console.web.__main__:application",
        settings,
        port=settings.port if settings.web_module == MODULE else settings.console_port,
        interface=Interfaces.ASGINL,
        workers=1,
        factory=True,
    ).serve()


def application() -> Server:
    """Make the application in Granian's process, and start its heartbeat."""
    stop_with_parent()
    configure(current(), "console")
    resources = open_resources(current())
    heartbeat = Heartbeat(resources.pool, resources.name, "console")
    heartbeat.start()
    metrics.show(metrics.BuildInfo("console"))
    metrics.show(InstallationMetrics(resources.pool, resources.lookups))
    private_port.serve(lambda: readiness.all_of(database=readiness.check_database(resources.pool, heartbeat)))
    service_manager.notify_from(asyncio.get_event_loop())  # Granian's, which runs next
    # At its end a process of multiprocessing runs these, and nothing that is registered with atexit.
    Finalize(None, resources.pool.close, exitpriority=1)
    Finalize(None, heartbeat.stop, exitpriority=2)
    return Server(
        create_apps(resources),
        trusted_proxies=current().trusted_proxies,
        when_stopping=resources.feed_watch.close,
    )


class Begun(NamedTuple):
    """An answer with its whole body, or with the first piece of it and the pieces that follow."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    rest: Iterator[bytes] | None = None
    source: Iterable[bytes] = ()  # of the pieces, to be closed


class Server:
    """Serves the Flask applications from the event loop of Granian: the loop waits for bodies, and threads answer.

    A connection that sends nothing, or slowly, holds no thread. The interface is ASGI: it gives the bytes of the path.
    """

    def __init__(
        self,
        apps: Apps,
        *,
        trusted_proxies: Sequence[Network] = (),
        body_seconds: float = BODY_SECONDS,
        when_stopping: Callable[[], None] | None = None,
    ) -> None:
        self._apps = apps
        self._trusted_proxies = trusted_proxies
        self._when_stopping = when_stopping
        self._body_seconds = body_seconds
        self._threads = ThreadPoolExecutor(THREADS, "request")
        self._requests = 0  # in threads, or waiting for one
        self._room = LARGE_TOGETHER
        self._downloads = 0
        self._download_threads = ThreadPoolExecutor(DOWNLOAD_THREADS, "download")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if self._when_stopping:  # only now are Granian's own handlers in place
            when_told_to_stop(self._when_stopping)
            self._when_stopping = None
        environ = environ_of(scope, self._trusted_proxies)
        try:
            if environ["PATH_INFO"] == LIVEZ:
                answer = Begun(
                    *call(self._apps.of(environ), environ)
                )  # it waits for nothing, also while all threads are taken
            else:
                answer = await self._answer(environ, receive)
        except Exception as exc:  # noqa: BLE001 -- Flask answers whatever it is
            answer = Begun(*call(self._apps.of(environ), environ | {FAILURE: exc}))
        if answer.rest is None:
            await _send(send, answer)
        else:
            await self._send_in_pieces(send, answer, answer.rest)

    async def _answer(self, environ: WSGIEnvironment, receive: Receive) -> Begun:
        body, large = bytearray(), _size(environ) > SMALL
        try:
            if await self._is_wanted(environ):
                await self._collect(body, receive, large=large)
                environ |= {"wsgi.input": BytesIO(body), "CONTENT_LENGTH": str(len(body))}
                environ.pop("HTTP_TRANSFER_ENCODING", None)  # its length is known now, and checked by the application
            return self._admit(await self._in_thread(_begin, environ))
        finally:
            if large:
                self._room += len(body)

    def _admit(self, answer: Begun) -> Begun:
        """Return the answer, unless too many are sent in pieces already. Raises ServiceUnavailable."""
        if answer.rest is not None and self._downloads >= MOST_DOWNLOADS:
            close(answer.source)
            raise ServiceUnavailable("too many downloads at once; send it again", retry_after=RETRY_AFTER)
        return answer

    async def _send_in_pieces(self, send: Send, answer: Begun, rest: Iterator[bytes]) -> None:
        """Send a long answer; the next piece is read when the receiver has taken the one before.

        An answer that cannot be finished breaks off: the receiver sees that it is shorter than its Content-Length.
        """
        self._downloads += 1
        try:
            await _send(send, answer, is_whole=False)
            while piece := await self._next_piece(rest):
                async with asyncio.timeout(STALL_SECONDS):
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        except TimeoutError:
            log.info("download_broken_off", reason=f"the receiver took nothing for {STALL_SECONDS:g} s")
        except MailroomError as exc:
            log.warning("download_broken_off", code=exc.code, reason=str(exc))
        finally:
            self._downloads -= 1
            close(answer.source)

    async def _next_piece(self, rest: Iterator[bytes]) -> bytes:
        return await asyncio.get_running_loop().run_in_executor(self._download_threads, next, rest, b"")

    async def _is_wanted(self, environ: WSGIEnvironment) -> bool:
        """Return whether to wait for the body. The application refuses all others unread."""
        size = _size(environ)
        if size > SMALL:
            return size <= LARGEST and await self._in_thread(_has_token, environ)
        return size > 0

    async def _collect(self, body: bytearray, receive: Receive, *, large: bool) -> None:
        """Wait for the pieces of the body until its end, or until it is larger than any may be."""
        try:
            async with asyncio.timeout(self._body_seconds):
                more = True
                while more and len(body) <= LARGEST:
                    message = await receive()
                    if message["type"] == "http.disconnect":  # or the chunks are malformed
                        raise ClientDisconnected
                    body += (piece := message.get("body", b""))
                    self._take_room(len(piece) if large else 0)
                    more = message.get("more_body", False)
        except TimeoutError:
            raise RequestTimeout("the body was not here in time") from None

    def _take_room(self, size: int) -> None:
        self._room -= size
        if self._room < 0:
            raise ServiceUnavailable("too many large bodies at once; send it again", retry_after=RETRY_AFTER)

    async def _in_thread(self, work: Callable[[Flask, WSGIEnvironment], T], environ: WSGIEnvironment) -> T:
        if self._requests >= THREADS + MOST_WAITING:
            raise ServiceUnavailable("too many requests at once; send it again", retry_after=RETRY_AFTER)
        self._requests += 1
        running = asyncio.get_running_loop().run_in_executor(self._threads, work, self._apps.of(environ), environ)
        running.add_done_callback(self._count_down)
        return await running

    def _count_down(self, _: object) -> None:
        self._requests -= 1


def environ_of(scope: Scope, trusted_proxies: Sequence[Network] = ()) -> WSGIEnvironment:
    """Make the WSGI environment of a request, without its body. A header given twice is joined by a comma."""
    (host, port), (address, _) = scope["server"], scope["client"]
    environ = WSGI | {
        "REQUEST_METHOD": scope["method"],
        "PATH_INFO": unquote_to_bytes(scope["raw_path"]).decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "SERVER_NAME": host,
        "SERVER_PORT": str(port),
        "REMOTE_ADDR": address,
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": BytesIO(),
    }
    for name, value in scope["headers"]:
        if key := wsgi_key(name.decode("latin-1")):
            text = value.decode("latin-1")
            environ[key] = f"{environ[key]},{text}" if key in environ else text
    return environ | forwarded(environ, trusted_proxies) if trusted_proxies else environ


def _size(environ: WSGIEnvironment) -> int:
    """Return the announced size of the body; without one, the largest size that any body may have."""
    if "HTTP_TRANSFER_ENCODING" in environ:
        return LARGEST
    return int(environ.get("CONTENT_LENGTH") or 0)


def _has_token(app: Flask, environ: WSGIEnvironment) -> bool:
    """Return whether the request has a valid token. Raises StoreUnavailable."""
    with app.request_context(environ):
        try:
            find_bearer()
        except Unauthorized:
            return False
        return True


def _begin(app: Flask, environ: WSGIEnvironment) -> Begun:
    """Run the application until the first piece of its answer: all of it, but for a download or an export."""
    status, headers, pieces = begin(app, environ)
    rest = iter(pieces)
    first = next(rest, b"")
    length = next((int(value) for name, value in headers if name == "Content-Length"), None)
    goes_on = bool(first) and (length is None or len(first) < length)  # without a length it is made piece by piece
    if goes_on and environ["REQUEST_METHOD"] != "HEAD":
        return Begun(status, headers, first, rest, pieces)
    try:
        return Begun(status, headers, first + b"".join(rest))
    finally:
        close(pieces)


async def _send(send: Send, answer: Begun, *, is_whole: bool = True) -> None:
    lines = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
    await send({"type": "http.response.start", "status": answer.status, "headers": lines})
    await send({"type": "http.response.body", "body": answer.body, "more_body": not is_whole})


if __name__ == "__main__":
    sys.exit(main())
