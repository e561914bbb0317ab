"""Both servers at once, for tests and benchmarks."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from console.embedded.postgres import Postgres
from console.embedded.valkey import Valkey

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def servers(folder: Path, *, durable: bool = True) -> Iterator[tuple[str, str]]:
    """Run both and give their URLs: (DATABASE_URL, REDIS_URL)."""
    with Postgres(folder, durable=durable) as postgres, Valkey(folder, durable=durable) as valkey:
        yield postgres.url, valkey.url
