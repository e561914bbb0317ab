"""Serves the door from Granian's event loop: bodies are collected first, answers wait until deliveries are kept.

So neither a slow sender nor a slow store holds a thread, and no two threads fight for the interpreter. Webhooks go
straight to the door, for a framework costs more than all the rest; whatever else comes goes through the application.
That stays plain WSGI and knows webhooks as well: without a Hold in the environment it waits for the stores itself.
"""

from __future__ import annotations

import json
import time
from asyncio import CancelledError, current_task
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeAlias

import structlog
from werkzeug.exceptions import HTTPException, InternalServerError

from ingest.bodies import Bodies
from ingest.deadlines import Deadlines
from ingest.door import said, tell_refused
from ingest.environ import environ_of
from ingest.holding import HOLD, Hold
from ingest.plain import LARGE, headers_of_webhook
from ingest.problems import come_back, of_http, refused
from ingest.waiting_room import WaitingRoom
from shared.errors import BodyTooSlow, ComeBack, DoorFull, Refused
from shared.models import Delivery
from shared.process import metrics

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Task
    from wsgiref.types import WSGIApplication, WSGIEnvironment

    from flask import Response
    from granian.rsgi import HTTPProtocol, Scope  # type: ignore[attr-defined]  # named in Granian's documentation

    from ingest.door import Door
    from ingest.keeper import Keeper

    Answer: TypeAlias = tuple[int, list[tuple[str, str]], bytes]

log = structlog.get_logger(__name__)

BODY_SECONDS = 10.0
# These would keep everybody waiting: they ask the stores, read files, or go over megabytes.
ASIDE = {"/readyz", "/metrics"}
ASIDE_THREADS = 4
ASIDE_WAITING = 64


class Reception:
    """The door as an RSGI application, one in each process."""

    def __init__(
        self,
        app: WSGIApplication,
        keeper: Keeper,
        *,
        max_body_bytes: int,
        door: Door | None = None,
        body_seconds: float = BODY_SECONDS,
    ) -> None:
        self._app = app
        self._door = door
        self._keeper = keeper
        self._bodies = Bodies(limit=max_body_bytes)
        self._body_seconds = body_seconds
        self._aside = ThreadPoolExecutor(ASIDE_THREADS, "aside")
        self._waiting_aside = 0

    def __rsgi_init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self._room = WaitingRoom(loop, self._keeper)
        self._arrivals: Deadlines[Task[None]] = Deadlines(loop, self._body_seconds, _interrupt)

    async def __rsgi__(self, scope: Scope, proto: HTTPProtocol) -> None:
        try:
            body = await self._collect(scope, proto)
            try:
                answer = await self._answer(scope, body)
            finally:
                self._bodies.release(body)
        except Refused as exc:
            answer = _plain(refused(exc))
        except ComeBack as exc:
            answer = _plain(come_back(exc))
        except HTTPException as exc:
            answer = _plain(of_http(exc))
        except Exception:
            log.exception("request failed")
            answer = _plain(of_http(InternalServerError()))
        proto.response_bytes(*answer)

    async def _collect(self, scope: Scope, proto: HTTPProtocol) -> bytes:
        task = current_task()
        assert task is not None  # noqa: S101 - for mypy: Granian runs us in a task
        self._arrivals.begin(task)
        try:
            return await self._bodies.collect(scope, proto)
        except CancelledError:
            metrics.DELIVERIES.labels(BodyTooSlow.code).inc()
            raise BodyTooSlow(f"the body was not here after {self._body_seconds} s") from None
        finally:
            self._arrivals.end(task)

    async def _answer(self, scope: Scope, body: bytes) -> Answer:
        if self._door and (headers := headers_of_webhook(scope, body)):
            return await self._receive(self._door, headers, body)
        return await self._through_application(environ_of(scope, body), len(body))

    async def _receive(self, door: Door, headers: dict[str, str], body: bytes) -> Answer:
        hold = Hold()
        try:
            admitted = door.admit(
                body,
                timestamp=headers.get("x-front-request-timestamp", ""),
                signature=headers.get("x-front-signature", ""),
                challenge=headers.get("x-front-challenge"),
            )
        except Refused as exc:
            tell_refused(exc, time.perf_counter() - hold.began)
            raise
        if isinstance(admitted, Delivery):
            await self._keep(admitted, hold)
        answer = json.dumps(said(admitted)).encode()
        return 200, [("Content-Type", "application/json"), ("Content-Length", str(len(answer)))], answer

    async def _keep(self, delivery: Delivery, hold: Hold) -> None:
        outcome = await self._room.keep(delivery, hold)
        if isinstance(outcome, ComeBack):
            raise outcome

    async def _through_application(self, environ: WSGIEnvironment, size: int) -> Answer:
        hold = environ[HOLD] = Hold()
        if environ["PATH_INFO"] in ASIDE or size > LARGE:
            answer = await self._answer_aside(environ)
        else:
            answer = call(self._app, environ)
        if hold.delivery is not None:
            await self._keep(hold.delivery, hold)
        return answer

    async def _answer_aside(self, environ: WSGIEnvironment) -> Answer:
        if self._waiting_aside >= ASIDE_WAITING:
            raise DoorFull("too many such requests at once")
        self._waiting_aside += 1
        try:
            return await self._loop.run_in_executor(self._aside, call, self._app, environ)
        finally:
            self._waiting_aside -= 1


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


def _interrupt(task: Task[None]) -> None:
    task.cancel()


def _plain(answer: Response) -> Answer:
    return answer.status_code, answer.headers.to_wsgi_list(), answer.get_data()
