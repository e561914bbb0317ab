"""Both servers at once, for tests and benchmarks."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from console.up.embedded.postgres import Postgres
from console.up.embedded.server import AlreadyRunning, CannotStart, Server, hold
from console.up.embedded.valkey import Valkey

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


__all__ = ["AlreadyRunning", "CannotStart", "Postgres", "Server", "Valkey", "hold", "servers"]


@contextmanager
def servers(folder: Path, *, durable: bool = True) -> Iterator[tuple[str, str]]:
    """Run both and give their URLs: (DATABASE_URL, REDIS_URL)."""
    with Postgres(folder, durable=durable) as postgres, Valkey(folder, durable=durable) as valkey:
        yield postgres.url, valkey.url
