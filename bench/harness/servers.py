"""One durable PostgreSQL and one durable Valkey for a whole suite; each run gets them empty."""

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
    """Runs both servers below `folder`, or the given ones.

    Start them from the main thread: the kernel ends them with the thread that forked them.
    """

    def __init__(self, folder: Path, *, postgres: Postgres | None = None, valkey: Valkey | None = None) -> None:
        self.postgres = postgres or Postgres(folder)
        self.valkey = valkey or Valkey(folder)
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
        """Yield the URLs of an empty, migrated database and an empty Redis; restore the servers afterwards."""
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
        """Let both run and answer with their usual configuration."""
        for server in (self.postgres, self.valkey):
            if server.running:
                signal_tree(server, signal.SIGCONT)
            server.start()
        with self.redis() as client:
            client.config_set("maxmemory", 0)
        self.set_fsync("always")

    def set_fsync(self, policy: str) -> None:
        """Set when Redis syncs its log (`always`, `everysec`, `no`), until it is started again."""
        with self.redis() as client:
            client.config_set("appendfsync", policy)

    def redis(self) -> redis.Redis:
        """Return a client that waits for two seconds at most."""
        return redis.Redis.from_url(self.valkey.url, socket_timeout=2, socket_connect_timeout=2)

    @contextmanager
    def _administration(self) -> Iterator[psycopg.Connection]:
        with psycopg.connect(self.postgres.url_of("postgres"), autocommit=True) as conn:
            yield conn


@contextmanager
def both_servers() -> Iterator[tuple[Servers, Path]]:
    """Run a PostgreSQL and a Redis for a whole benchmark, with a folder for all its files."""
    folder = Path(tempfile.mkdtemp(prefix="mailroom-bench-"))
    folder.chmod(0o711)  # PostgreSQL runs as another account when we are root
    with Servers(folder) as servers:
        yield servers, folder
    shutil.rmtree(folder)


def signal_tree(server: Server, number: signal.Signals) -> None:
    """Send a signal to a server's main process and to each child: PostgreSQL's are process groups of their own."""
    with suppress(psutil.NoSuchProcess):
        main = psutil.Process(server.pid)
        for process in (main, *main.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)


@contextmanager
def hung(server: Server, seconds: float) -> Iterator[None]:
    """Stop a server with its connections open (SIGSTOP), for `seconds` and for as long as the body takes."""
    until = time.monotonic() + seconds
    signal_tree(server, signal.SIGSTOP)
    try:
        yield
        time.sleep(max(0.0, until - time.monotonic()))
    finally:
        signal_tree(server, signal.SIGCONT)
