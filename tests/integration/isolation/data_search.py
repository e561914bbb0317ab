"""Search all data that Mailroom stores for words."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import redis

from tests.integration.isolation.catalogue import columns

if TYPE_CHECKING:
    from tests.integration.pipeline.harness import Harness


def locations_of(harness: Harness, folder: Path, *words: str) -> set[str]:
    """Return the tables, Redis keys and files with one of the words, also inside compressed bodies."""
    wanted = [word.encode() for word in words]
    kept = (*_rows(harness), *_redis(harness), *_files(folder))
    return {place for place, content in kept if any(word in content for word in wanted)}


def _rows(harness: Harness) -> Iterator[tuple[str, bytes]]:
    with psycopg.connect(harness.settings.database_url.get_secret_value()) as conn:
        for table, column, kind in columns(conn):
            convert = "" if kind == "bytea" else "::text"
            query = f'SELECT "{column}"{convert} FROM "{table}" WHERE "{column}" IS NOT NULL'
            for (value,) in conn.execute(query.encode()):
                content = value if isinstance(value, bytes) else value.encode()
                yield table, content
                with suppress(zlib.error):
                    yield table, zlib.decompress(content)


def _redis(harness: Harness) -> Iterator[tuple[str, bytes]]:
    with redis.Redis.from_url(harness.settings.redis_url.get_secret_value()) as client:
        for key in client.scan_iter():
            # A dump of a stream contains deleted entries until its whole block is deleted.
            content = repr(client.xrange(key)).encode() if client.type(key) == b"stream" else client.dump(key)
            yield f"redis {key.decode()}", key + (content or b"")


def _files(folder: Path) -> Iterator[tuple[str, bytes]]:
    for file in folder.rglob("*"):
        yield f"file {file}", file.read_bytes() if file.is_file() else str(file).encode()
