"""Granian as all our servers run it: its options, its log, how it calls WSGI, and how its processes stop."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import sys
import threading
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

from granian import Granian
from granian.constants import HTTPModes
from granian.http import HTTP1Settings
from granian.log import LogLevels

from shared.process.listen_address import listen_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from wsgiref.types import WSGIApplication, WSGIEnvironment

    from granian.constants import Interfaces
    from granian.server.common import AbstractServer

    from shared.settings import Settings

    Answer: TypeAlias = tuple[int, list[tuple[str, str]], bytes]

# Of one process; more wait to be accepted. One that sends slowly costs a few kilobytes and no thread.
CONNECTIONS = 4096
BACKLOG = 2048
SPARE_FILES = 256  # for stores, logs, metrics and what Python itself opens

#: The part of a WSGI environment that is the same for all requests.
WSGI: dict[str, Any] = {
    "SCRIPT_NAME": "",
    "wsgi.version": (1, 0),
    "wsgi.errors": sys.stderr,
    "wsgi.input_terminated": True,  # the input ends where the body does, also without Content-Length
    "wsgi.multithread": True,
    "wsgi.multiprocess": True,
    "wsgi.run_once": False,
}

HEADER_SECONDS = 10
#: Of one connection; headers that are longer get 431. Granian's default is 408 KiB, which 4,096 slow senders may fill.
HEADER_BYTES = 64 * 1024
DRAIN_SECONDS = 20
ORPHAN_CHECK_SECONDS = 1.0
#: Granian adds no handlers of its own, so that its lines reach our log.
_LOG_CONFIG: dict[str, Any] = {
    "formatters": {},
    "handlers": {},
    "loggers": {"_granian": {"handlers": [], "propagate": True}},
}


def server(
    target: str, settings: Settings, *, port: int, interface: Interfaces, workers: int, **options: Any
) -> AbstractServer[Any]:
    """Return a server for the application `target`. `options`: arguments of Granian that only this server needs.

    Raises ConfigurationError.
    """
    return Granian(
        target,
        address=listen_address(settings.listen_host),
        port=port,
        interface=interface,
        workers=workers,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=HEADER_SECONDS * 1000, max_buffer_size=HEADER_BYTES),
        websockets=False,
        backlog=BACKLOG,
        backpressure=_connections(),
        respawn_failed_workers=True,
        workers_kill_timeout=DRAIN_SECONDS,
        log_level=LogLevels(settings.log_level.lower()),
        log_dictconfig=_LOG_CONFIG,
        **options,
    )


def _connections() -> int:
    """Return how many connections a process takes: as many as files may be open, once that limit is raised."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS + SPARE_FILES
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return max(allowed - SPARE_FILES, allowed // 2)


@lru_cache(maxsize=256)  # names are the sender's choice
def wsgi_key(header: str) -> str:
    """Return the WSGI name of a header; empty for one with an underscore, which could pass itself off as another."""
    if "_" in header:
        return ""
    key = header.upper().replace("-", "_")
    return key if key in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{key}"


def call(app: WSGIApplication, environ: WSGIEnvironment) -> Answer:
    """Run a WSGI application to its end and return its answer."""
    status, headers, pieces = begin(app, environ)
    try:
        body = b"".join(pieces)
    finally:
        close(pieces)
    return status, headers, body


def begin(app: WSGIApplication, environ: WSGIEnvironment) -> tuple[int, list[tuple[str, str]], Iterable[bytes]]:
    """Run a WSGI application until its answer begins; the body comes in pieces, which the caller closes."""
    started: list[Any] = []

    def start_response(*status_and_headers: Any) -> Any:
        started[:] = status_and_headers[:2]

    pieces = app(environ, start_response)
    status, headers = started
    return int(status[:3]), headers, pieces


def close(pieces: Any) -> None:
    """Tell the application that nobody takes more pieces of its answer."""
    if hasattr(pieces, "close"):
        pieces.close()


def prepare_forks() -> None:
    """Let each process forked from now on stop when TERM comes while it starts."""
    os.register_at_fork(before=_block_term, after_in_parent=_unblock_term, after_in_child=_start_child)


def _start_child() -> None:
    # A forked process inherits the parent's handler, which would swallow TERM until Granian sets its own. A TERM that
    # came before this line was blocked, and ends the process now.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _unblock_term()


def _block_term() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def _unblock_term() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def stop_with_parent() -> None:
    """Let this process stop, as TERM stops it, soon after its parent has died; call it in each process of a server.

    Nothing else stops it after a kill -9 of its parent, and it would keep the port. It does not matter whether the
    process was forked, spawned, or started by a fork server.
    """
    threading.Thread(target=_stop_as_orphan, name="orphan-watch", daemon=True).start()


def when_told_to_stop(react: Callable[[], None]) -> None:
    """Have `react` called as soon as TERM or INT comes; call it in the event loop, which must not need what it locks.

    Granian stops by handlers of the event loop, and waits for requests in work. asyncio learns of a signal through a
    file descriptor, so it does so besides a handler of our own.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: react())


def _stop_as_orphan() -> None:
    # A fork server is the parent of the process, and outlives the one that asked for it. Then only a pipe tells of the
    # death. Of forked processes the younger ones hold that pipe open, too, and only the new parent tells.
    asked_by, started_by = multiprocessing.parent_process(), os.getppid()
    while os.getppid() == started_by and (asked_by is None or asked_by.is_alive()):
        time.sleep(ORPHAN_CHECK_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
