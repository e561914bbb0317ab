"""One PostgreSQL and one Valkey for a whole suite, both durable; each run gets them empty."""

from __future__ import annotations

import shutil
import signal
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

import psutil
import psycopg
import redis

from console.up.embedded import Postgres, Valkey
from shared.db.core.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from console.up.embedded import Server

TEMPLATE = "template_mailroom"


class Servers:
    """Both servers below `folder`. Start them before any thread: the kernel ties their end to the thread that forks."""

    def __init__(self, folder: Path) -> None:
        self.postgres = Postgres(folder)
        self.valkey = Valkey(folder)
        self._runs = 0
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(self.postgres)
        self._stack.enter_context(self.valkey)
        with self._administration() as conn:
            conn.execute(f"CREATE DATABASE {TEMPLATE}")
        migrate(self.postgres.url_of(TEMPLATE))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @contextmanager
    def fresh(self) -> Iterator[tuple[str, str]]:
        """The URLs of an empty, migrated database and of an empty Redis; whatever was done to the servers is undone."""
        self.restore()
        self._runs += 1
        name = f"run_{self._runs}"
        with self._administration() as conn:
            conn.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
        with self.redis() as client:
            client.flushall()
        try:
            yield self.postgres.url_of(name), self.valkey.url
        finally:
            self.restore()
            with self._administration() as conn:
                conn.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def restore(self) -> None:
        """Let both run and answer, as they were configured."""
        for server in (self.postgres, self.valkey):
            if server.running:
                signal_tree(server, signal.SIGCONT)
            server.start()
        with self.redis() as client:
            client.config_set("maxmemory", 0)
        self.set_fsync("always")

    def set_fsync(self, policy: str) -> None:
        """When Redis syncs its log (`always`, `everysec`, `no`), until it is started again."""
        with self.redis() as client:
            client.config_set("appendfsync", policy)

    def redis(self) -> redis.Redis:
        """A client that waits for no more than two seconds."""
        return redis.Redis.from_url(self.valkey.url, socket_timeout=2, socket_connect_timeout=2)

    @contextmanager
    def _administration(self) -> Iterator[psycopg.Connection]:
        with psycopg.connect(self.postgres.url_of("postgres"), autocommit=True) as conn:
            yield conn


@contextmanager
def both_servers() -> Iterator[tuple[Servers, Path]]:
    """A PostgreSQL and a Redis for a whole benchmark, and a folder for all that belongs to it."""
    folder = Path(tempfile.mkdtemp(prefix="mailroom-bench-"))
    folder.chmod(0o711)  # PostgreSQL runs as another account when we are root
    with Servers(folder) as servers:
        yield servers, folder
    shutil.rmtree(folder)


def signal_tree(server: Server, number: signal.Signals) -> None:
    """Send a signal to a server's main process and to those that it started: PostgreSQL's are groups of their own."""
    with suppress(psutil.NoSuchProcess):
        main = psutil.Process(server.pid)
        for process in (main, *main.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)


@contextmanager
def hung(server: Server, seconds: float) -> Iterator[None]:
    """Stop a server with its connections open (SIGSTOP), for `seconds` and as long as the body takes."""
    until = time.monotonic() + seconds
    signal_tree(server, signal.SIGSTOP)
    try:
        yield
        time.sleep(max(0.0, until - time.monotonic()))
    finally:
        signal_tree(server, signal.SIGCONT)
