"""Read all data that Mailroom stores, as bytes with the name of the place, and search it for secrets."""

from __future__ import annotations

import base64
import json
import urllib.parse
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import redis
from psycopg import sql

Found = tuple[str, bytes]
COLUMNS = """
    SELECT c.relname, a.attname, a.atttypid = 'bytea'::regtype FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    WHERE c.relkind IN ('r', 'p', 'm') AND c.relnamespace = 'public'::regnamespace AND a.attnum > 0
      AND NOT a.attisdropped ORDER BY 1, 2
"""


def encodings_of(secret: str) -> set[bytes]:
    """Return the secret and its encodings: base64 at any offset, hex, JSON, and percent-encoding."""
    raw = secret.encode()
    forms = {raw, raw.hex().encode(), urllib.parse.quote(secret, safe="").encode(), json.dumps(secret)[1:-1].encode()}
    for offset in range(3):
        inner = raw[offset:]
        middle = base64.b64encode(inner[: len(inner) // 3 * 3])
        forms |= {middle, middle.translate(bytes.maketrans(b"+/", b"-_"))}
    return forms


def find_leaks(secrets: dict[str, str], places: Iterable[Found]) -> list[tuple[str, str]]:
    """Return the name of each secret that was found, with the place."""
    forms = {name: encodings_of(secret) for name, secret in secrets.items()}
    return sorted(
        {
            (name, place)
            for place, content in places
            for name, shapes in forms.items()
            if any(shape in content for shape in shapes)
        }
    )


def database_values(database_url: str) -> Iterator[Found]:
    """Yield every value of every column of every table. Compressed bytes come with their decompressed form."""
    with psycopg.connect(database_url, autocommit=True) as conn:
        for table, column, is_bytes in conn.execute(COLUMNS).fetchall():
            query = sql.SQL("SELECT {} FROM {}" if is_bytes else "SELECT {}::text FROM {}")
            for (value,) in conn.execute(query.format(sql.Identifier(column), sql.Identifier(table))):
                if value is not None:
                    yield f"{table}.{column}", _inflated(value) if is_bytes else value.encode()


def keys(redis_url: str) -> Iterator[Found]:
    """Yield every key of this Redis database with its content."""
    with redis.Redis.from_url(redis_url) as client:
        for key in client.scan_iter():
            kind = client.type(key).decode()
            yield f"{kind} {key.decode(errors='replace')}", key + repr(_content(client, key, kind)).encode()


def files(folder: Path) -> Iterator[Found]:
    """Yield every file below a folder with its name."""
    for path in folder.rglob("*"):
        yield str(path.relative_to(folder)), str(path).encode() + (path.read_bytes() if path.is_file() else b"")


def _inflated(value: bytes) -> bytes:
    try:
        return value + zlib.decompress(value)
    except zlib.error:
        return value


def _content(client: redis.Redis, key: bytes, kind: str) -> Any:
    read = {
        "none": lambda _: None,  # taken by a worker in the meantime
        "string": client.get,
        "list": lambda name: client.lrange(name, 0, -1),
        "hash": client.hgetall,
        "set": client.smembers,
        "zset": lambda name: client.zrange(name, 0, -1, withscores=True),
        "stream": client.xrange,
    }
    return read[kind](key)
