"""The inbox: a Redis Stream that holds every delivery from its acknowledgement until its rows are committed."""

from __future__ import annotations

import hashlib
import re
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from shared.errors import StoreUnavailable
from shared.models import Delivery

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from shared.settings import Settings

STREAM = "mailroom:inbox"
BELL = "mailroom:bell"
BELL_MS = 1000  # a recorder that was told and died is told again after this
CHUNK = 20  # entries of one XREAD: their bodies are in memory together

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DELIVERY_ID = re.compile(rb"[0-9a-f]{32}")
MILLISECONDS = re.compile(rb"[0-9]{1,14}")


@dataclass(frozen=True, kw_only=True)
class Put:
    """What became of a batch: per delivery None or the reason it was refused, and whether nobody is told yet."""

    refusals: tuple[Exception | None, ...]
    bell_was_silent: bool


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One delivery in the inbox. A foreign entry is not `readable`: its delivery stands for it, so that it ends
    as a failed task instead of stopping the reader."""

    entry_id: str
    delivery: Delivery
    readable: bool = True


class Inbox:
    """The stream and its bell. Raises StoreUnavailable, and nothing else, when Redis does not do its part."""

    def __init__(self, client: redis.Redis) -> None:
        self._redis = client

    def put(self, deliveries: Sequence[Delivery]) -> Put:
        """Add all in one round trip, each for itself: some may be refused while the others are in.

        After StoreUnavailable any of them may be in the inbox or not.
        """
        pipeline = self._redis.pipeline(transaction=False)
        for delivery in deliveries:
            pipeline.xadd(STREAM, _fields(delivery))
        pipeline.set(BELL, "1", nx=True, px=BELL_MS)
        with _translated():
            *added, rung = pipeline.execute(raise_on_error=False)
        return Put(refusals=tuple(_refusal(answer) for answer in added), bell_was_silent=rung is True)

    def read(self, *, max_entries: int = 200, max_bytes: int = 4 * 2**20) -> list[Entry]:
        """The oldest entries, up to the first that fills `max_bytes`; they stay until deleted."""
        entries: list[Entry] = []
        size, last = 0, "0"
        while size < max_bytes and (wanted := min(CHUNK, max_entries - len(entries))) > 0:
            chunk = self._read_after(last, wanted)
            entries += chunk
            if len(chunk) < wanted:
                break
            last = chunk[-1].entry_id
            size += sum(len(entry.delivery.body) for entry in chunk)
        return entries

    def delete(self, entry_ids: Iterable[str]) -> None:
        """Remove entries whose deliveries are recorded; also while Redis is full."""
        if ids := list(entry_ids):
            with _translated():
                self._redis.xdel(STREAM, *ids)

    def stop_bell(self) -> None:
        """From here on the next delivery tells the recorder again: look once more after this."""
        with _translated():
            self._redis.delete(BELL)

    def depth(self) -> int:
        """How many deliveries are not recorded yet."""
        with _translated():
            depth: Any = self._redis.xlen(STREAM)
        return int(depth)

    def oldest_age_seconds(self) -> float:
        """How long the oldest delivery has been waiting, by Redis's clock; 0 when none is."""
        with _translated():
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.xrange(STREAM, count=1)
            pipeline.time()
            oldest, (seconds, microseconds) = pipeline.execute()
        now = int(seconds) * 1000 + int(microseconds) // 1000
        return max(0, now - _added_at(oldest[0][0])) / 1000 if oldest else 0.0

    def check_writable(self) -> None:
        """Raise StoreUnavailable unless Redis takes writes now; leaves nothing behind."""
        with _translated():
            self._redis.set(f"{BELL}:check", "1", px=1)

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def _read_after(self, entry_id: str, count: int) -> list[Entry]:
        with _translated():
            answer: Any = self._redis.xread({STREAM: entry_id}, count=count)
        return [_entry(name, fields) for _, entries in answer for name, fields in entries]


def open_inbox(settings: Settings, *, connect_seconds: float = 2.0, answer_seconds: float = 5.0) -> Inbox:
    """The inbox at REDIS_URL. Connects when first used, and tries nothing twice."""
    client = redis.Redis.from_url(
        settings.redis_url.get_secret_value(),
        socket_connect_timeout=connect_seconds,
        socket_timeout=answer_seconds,
        socket_keepalive=True,
        retry=Retry(NoBackoff(), 0),
        lib_name=None,  # saves two round trips a connection
        lib_version=None,
    )
    return Inbox(client)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except redis.RedisError as exc:
        raise _unavailable(exc) from exc


def _unavailable(exc: Exception) -> StoreUnavailable:
    return StoreUnavailable(f"Redis did not do its part ({exc}); check REDIS_URL and the server")


def _refusal(answer: object) -> Exception | None:
    return _unavailable(answer) if isinstance(answer, Exception) else None


def _fields(delivery: Delivery) -> dict[Any, Any]:
    at = (delivery.received_at - EPOCH) // timedelta(milliseconds=1)
    return {"id": delivery.id, "at": at, "body": delivery.body}


def _entry(name: bytes, fields: Mapping[bytes, bytes] | None) -> Entry:
    fields = fields or {}
    id_, at, body = fields.get(b"id", b""), fields.get(b"at", b""), fields.get(b"body")
    if body is None or not DELIVERY_ID.fullmatch(id_) or not MILLISECONDS.fullmatch(at):
        return _unreadable(name, body or b"")
    return Entry(entry_id=name.decode(), delivery=_delivery(id_.decode(), int(at), body))


def _unreadable(name: bytes, body: bytes) -> Entry:
    """Always the same delivery id for the same entry: recorded twice, it is still one."""
    id_ = hashlib.sha256(name).hexdigest()[:32]
    return Entry(entry_id=name.decode(), delivery=_delivery(id_, _added_at(name), body), readable=False)


def _delivery(id_: str, at: int, body: bytes) -> Delivery:
    return Delivery(id=id_, received_at=EPOCH + timedelta(milliseconds=at), body=body)


def _added_at(name: bytes) -> int:
    return min(int(name.split(b"-")[0]), 10**14 - 1)  # XADD may name any 64-bit time; datetime ends at year 9999
