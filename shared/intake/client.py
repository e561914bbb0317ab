"""The intake: a Redis Stream that holds every delivery from its acknowledgement until its rows are committed."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import redis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from shared.errors import StoreUnavailable
from shared.intake.entries import Entry, added_at, fields_of, is_entry_id, read_entry
from shared.intake.reading import IntakeParser, read_replies
from shared.redis_clients import WRITE_PROBE, asyncio_redis_connection, redis_client

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from shared.models import Delivery
    from shared.settings import Settings

STREAM = "mailroom:intake"
BELL = "mailroom:bell"
BELL_MS = 1000  # a recorder that was told and died is told again after this
CHUNK = 20  # entries of one XREAD: their bodies are in memory together
#: The key that an older release wrote to, and may still write to while its doors are being replaced.
OLD_STREAM = "mailroom:inbox"
# One script, so that no entry is ever in both streams or in none.
MOVE_OLD_ENTRIES = """
local entries = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', ARGV[1])
for _, entry in ipairs(entries) do
  redis.call('XADD', KEYS[2], '*', unpack(entry[2]))
  redis.call('XDEL', KEYS[1], entry[1])
end
if redis.call('XLEN', KEYS[1]) == 0 then
  redis.call('DEL', KEYS[1])
end
return #entries
"""


@dataclass(frozen=True, kw_only=True)
class Put:
    """The result of a batch: for each delivery None or why it was refused, and whether the recorder must be told."""

    refusals: tuple[Exception | None, ...]
    bell_was_silent: bool


class Intake:
    """The stream and its bell. Raises StoreUnavailable, and nothing else, when Redis does not do its part."""

    def __init__(self, client: redis.Redis) -> None:
        self._redis = client

    def put(self, deliveries: Sequence[Delivery]) -> Put:
        """Add all in one round trip, each for itself: some may be refused while the others are in.

        After StoreUnavailable any of them may be in the intake or not.
        """
        with _translated():
            pipeline = self._redis.pipeline(transaction=False)
            for delivery in deliveries:
                pipeline.xadd(STREAM, dict[Any, Any](fields_of(delivery)))
            pipeline.set(BELL, "1", nx=True, px=BELL_MS)
            *added, rung = pipeline.execute(raise_on_error=False)
        return _put(added, rung)

    def read(
        self, *, after: str = "0", max_entries: int = 200, max_bytes: int = 4 * 2**20, wait_seconds: float = 0.0
    ) -> list[Entry]:
        """The oldest entries behind `after`, up to the first that fills `max_bytes`; they stay until deleted.

        Without any, wait so long for the next one. It must be less than the client waits for an answer.
        """
        entries: list[Entry] = []
        size, last = 0, after
        while size < max_bytes and (wanted := min(CHUNK, max_entries - len(entries))) > 0:
            chunk = self._read_after(last, wanted, 0.0 if entries else wait_seconds)
            entries += chunk
            if len(chunk) < wanted:
                break
            last = chunk[-1].entry_id
            size += sum(len(entry.delivery.body) for entry in chunk)
        return entries

    def walk(self) -> Iterator[list[Entry]]:
        """All entries in order, some at a time; they stay, and deleting those already given is fine."""
        last = "0"
        while chunk := self._read_after(last, CHUNK):
            yield chunk
            last = chunk[-1].entry_id

    def delete(self, entry_ids: Iterable[str], *, silent_seconds: float = 0.0) -> None:
        """Remove entries whose deliveries are recorded; also while Redis is full.

        `silent_seconds`: the bell stays rung for so long, because the caller listens to the stream itself.
        """
        ids = list(entry_ids)
        if not ids:
            return
        with _translated():
            if not silent_seconds:
                self._redis.xdel(STREAM, *ids)
                return
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.xdel(STREAM, *ids)
            pipeline.set(BELL, "1", px=int(silent_seconds * 1000))
            deleted, _ = pipeline.execute(raise_on_error=False)  # a full Redis refuses to ring, and deletes
        if isinstance(deleted, Exception):
            raise _unavailable(deleted)

    def move_old_entries(self) -> int:
        """Move the next entries of an older release's stream to the end of this one; how many there were."""
        with _translated():
            moved: Any = self._redis.eval(MOVE_OLD_ENTRIES, 2, OLD_STREAM, STREAM, str(CHUNK))
        return int(moved)

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
        """How long the oldest delivery has been waiting, by Redis's clock; 0 when none is.

        A clock that was set back leaves entries of the future behind; they are as old as they are ahead.
        """
        with _translated():
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.xrange(STREAM, count=1)
            pipeline.time()
            pipeline.delete(WRITE_PROBE)  # a replica that is left behind would have the same oldest for ever
            oldest, (seconds, microseconds), _ = pipeline.execute()
        if not oldest:
            return 0.0
        now = int(seconds) * 1000 + int(microseconds) // 1000
        return abs(now - added_at(oldest[0][0])) / 1000

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def _read_after(self, entry_id: str, count: int, wait_seconds: float = 0.0) -> list[Entry]:
        block = int(wait_seconds * 1000) or None  # 0 would wait without end
        with _translated():
            answer: Any = self._redis.xread({STREAM: entry_id}, count=count, block=block)
        return [read_entry(name, fields) for _, entries in answer for name, fields in entries]


def open_intake(settings: Settings, *, connect_seconds: float = 2.0, answer_seconds: float = 5.0) -> Intake:
    """The intake at REDIS_URL. Connects when first used, and tries nothing twice."""
    client = redis_client(
        settings.redis_url.get_secret_value(),
        socket_connect_timeout=connect_seconds,
        socket_timeout=answer_seconds,
        socket_keepalive=True,
        retry=Retry(NoBackoff(), 0),
        lib_name=None,  # saves two round trips a connection
        lib_version=None,
        parser_class=IntakeParser,
    )
    return Intake(client)


class AsyncIntake:
    """The intake for the door's event loop: over one connection, each call within `seconds`."""

    def __init__(self, connection: Any, *, seconds: float) -> None:
        self._connection = connection
        self._seconds = seconds
        self._turn = asyncio.Lock()

    async def put(self, deliveries: Sequence[Delivery]) -> Put:
        """As `Intake.put`."""
        *added, rung = await self._ask([*map(_packed_delivery, deliveries), RING])
        return _put(added, rung)

    async def check_writable(self) -> None:
        """Raise StoreUnavailable unless Redis takes writes now; leaves nothing behind."""
        [answer] = await self._ask([CHECK])
        if answer != b"OK":
            raise _unavailable(answer)

    async def _ask(self, commands: Sequence[bytes]) -> list[Any]:
        try:
            async with asyncio.timeout(self._seconds), self._turn:  # the time runs while a name is resolved, too
                return await self._exchange(commands)
        except TimeoutError:
            raise _unavailable(f"no answer within {self._seconds} s") from None
        except (redis.RedisError, OSError) as exc:
            raise _unavailable(exc) from exc

    async def _exchange(self, commands: Sequence[bytes]) -> list[Any]:
        """By hand: redis-py's pipeline and its reader cost the door more than all the rest of an answer."""
        connection = self._connection
        try:
            if connection.is_connected and connection._reader.at_eof():  # closed while nobody asked
                await connection.disconnect(nowait=True)
            await connection.connect()
            await connection.send_packed_command(b"".join(commands))
            return await read_replies(connection._reader, len(commands))
        except BaseException:
            await connection.disconnect(nowait=True)  # answers may still come, and are nobody's
            raise


def open_async_intake(settings: Settings, *, seconds: float) -> AsyncIntake:
    """The intake at REDIS_URL for an event loop. Connects when first used, and tries nothing twice."""
    connection = asyncio_redis_connection(
        settings.redis_url.get_secret_value(),
        socket_keepalive=True,
        retry=AsyncRetry(NoBackoff(), 0),
        lib_name=None,  # saves two round trips a connection
        lib_version=None,
    )
    return AsyncIntake(connection, seconds=seconds)


def _put(added: Sequence[object], rung: object) -> Put:
    """Read the answers to a batch; anything but an entry id is a refusal."""
    refusals = tuple(None if is_entry_id(answer) else _unavailable(answer) for answer in added)
    return Put(refusals=refusals, bell_was_silent=rung in (True, b"OK"))


def _unavailable(cause: object) -> StoreUnavailable:
    return StoreUnavailable(f"Redis did not do its part ({cause}); check REDIS_URL and the server")


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except redis.RedisError as exc:
        raise _unavailable(exc) from exc


def _packed_delivery(delivery: Delivery) -> bytes:
    return _packed(b"XADD", STREAM.encode(), b"*", *chain.from_iterable(fields_of(delivery).items()))


def _packed(*words: bytes) -> bytes:
    """One command in Redis's wire format."""
    return b"*%d\r\n" % len(words) + b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in words])


RING = _packed(b"SET", BELL.encode(), b"1", b"NX", b"PX", b"%d" % BELL_MS)
CHECK = _packed(b"SET", f"{BELL}:check".encode(), b"1", b"PX", b"1")
