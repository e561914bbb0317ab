"""The intake: Redis Streams that hold every delivery from its acknowledgement until its rows are committed."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

import redis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from shared.errors import StoreUnavailable
from shared.intake.entries import Entry, added_at, fields_of, is_entry_id, read_entry
from shared.intake.reading import IntakeParser, read_replies
from shared.intake.streams import ALL_STREAMS, STREAM, division_of, entry_name, parse_entry_name, stream_for, streams_of
from shared.redis_clients import WRITE_PROBE, asyncio_redis_connection, redis_client

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from shared.models import Delivery
    from shared.settings import Settings

BELL = "mailroom:bell"
BELL_MS = 1000  # a recorder that was told and died is told again after this
CHUNK = 20  # entries of one XREAD: their bodies are in memory together
WAIT_SHARE = 0.75  # of the time of a call, for the replicas: the rest is for the answer
#: The key that an older release wrote to, and may still write to while its doors are being replaced.
OLD_STREAM = "mailroom:inbox"
#: Seconds between two looks for streams of another division, which only a change of INTAKE_STREAMS leaves.
LOOK_SECONDS = 5.0
DELETE_EMPTY = "if redis.call('XLEN', KEYS[1]) == 0 then redis.call('DEL', KEYS[1]) end"
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
    """The streams and their bell. Raises StoreUnavailable, and nothing else, when Redis does not do its part.

    The companies are divided among so many `streams`. Those of another division are read as well, until they are empty.
    """

    def __init__(self, client: redis.Redis, *, streams: int = 1) -> None:
        self._redis = client
        self._streams = streams_of(streams)
        self._others = tuple(name for name in ALL_STREAMS if name not in self._streams)
        self._left: tuple[str, ...] = ()  # of them, those that are there
        self._look_at = float("-inf")

    def put(self, deliveries: Sequence[Delivery]) -> Put:
        """Add all in one round trip, each for itself: some may be refused while the others are in.

        After StoreUnavailable any of them may be in the intake or not.
        """
        with _translated():
            pipeline = self._redis.pipeline(transaction=False)
            for delivery in deliveries:
                stream = stream_for(delivery.body, self._streams)
                pipeline.xadd(stream, dict[Any, Any](fields_of(delivery)))
            pipeline.set(BELL, "1", nx=True, px=BELL_MS)
            *added, rung = pipeline.execute(raise_on_error=False)
        return _put(added, rung)

    @property
    def is_divided(self) -> bool:
        """Whether the companies are divided among several streams."""
        return len(self._streams) > 1

    @property
    def has_one_stream(self) -> bool:
        """Whether every delivery waits in the same stream."""
        return not self.is_divided and not self._left_streams()

    def waiting(self) -> list[list[str]]:
        """Return the streams with entries, those of one division together: the division of the oldest entry first.

        Entries that were written before INTAKE_STREAMS changed are older than those of the same company after that.
        """
        streams = (*self._left_streams(), *self._streams)
        with _translated():
            pipeline = self._redis.pipeline(transaction=False)
            for stream in streams:
                pipeline.xrange(stream, count=1)
            oldest = pipeline.execute()
        divisions: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
        for stream, first in zip(streams, oldest, strict=True):
            if first:
                divisions[division_of(stream)].append((added_at(first[0][0]), stream))
        return [[stream for _, stream in each] for each in sorted(divisions.values(), key=min)]

    def read(
        self,
        stream: str = STREAM,
        *,
        after: str = "0",
        max_entries: int = 200,
        max_bytes: int = 4 * 2**20,
        wait_seconds: float = 0.0,
    ) -> list[Entry]:
        """The oldest entries behind `after`, up to the first that fills `max_bytes`; they stay until deleted.

        Without any, wait so long for the next one. It must be less than the client waits for an answer.
        """
        entries: list[Entry] = []
        size, last = 0, parse_entry_name(after)[1]
        while size < max_bytes and (wanted := min(CHUNK, max_entries - len(entries))) > 0:
            chunk = self._read_after(stream, last, wanted, 0.0 if entries else wait_seconds)
            entries += chunk
            if len(chunk) < wanted:
                break
            last = parse_entry_name(chunk[-1].entry_id)[1]
            size += sum(len(entry.delivery.body) for entry in chunk)
        return entries

    def walk(self) -> Iterator[list[Entry]]:
        """All entries, in order within each stream, some at a time; deleting those already given is fine."""
        for stream in (*self._left_streams(), *self._streams):
            last = "0"
            while chunk := self._read_after(stream, last, CHUNK):
                yield chunk
                last = parse_entry_name(chunk[-1].entry_id)[1]

    def delete(self, entries: Iterable[str], *, silent_seconds: float = 0.0) -> None:
        """Remove entries whose deliveries are recorded; also while Redis is full.

        `silent_seconds`: the bell stays rung for so long, because the caller listens to the only stream itself.
        """
        ids: defaultdict[str, list[str]] = defaultdict(list)
        for stream, entry_id in map(parse_entry_name, entries):
            ids[stream].append(entry_id)
        if not ids:
            return
        with _translated():
            pipeline = self._redis.pipeline(transaction=False)
            for stream, of_stream in ids.items():
                pipeline.xdel(stream, *of_stream)
            if silent_seconds:
                pipeline.set(BELL, "1", px=int(silent_seconds * 1000))
            deleted = pipeline.execute(raise_on_error=False)[: len(ids)]  # a full Redis refuses to ring, and deletes
        for answer in deleted:
            if isinstance(answer, Exception):
                raise _unavailable(answer)

    def forget(self, stream: str) -> None:
        """Forget an empty stream of another division; nothing happens to one with entries, or to ours."""
        if stream in self._left:
            with _translated():
                self._redis.eval(DELETE_EMPTY, 1, stream)
            self._look_at = float("-inf")

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
        streams = (*self._left_streams(), *self._streams)
        with _translated():
            pipeline = self._redis.pipeline(transaction=False)
            for stream in streams:
                pipeline.xlen(stream)
            return sum(pipeline.execute())

    def oldest_age_seconds(self) -> float:
        """How long the oldest delivery has been waiting, by Redis's clock; 0 when none is.

        A clock that was set back leaves entries of the future behind; they are as old as they are ahead.
        """
        streams = (*self._left_streams(), *self._streams)
        with _translated():
            pipeline = self._redis.pipeline(transaction=False)
            for stream in streams:
                pipeline.xrange(stream, count=1)
            pipeline.time()
            pipeline.delete(WRITE_PROBE)  # a replica that is left behind would have the same oldest for ever
            *oldest, (seconds, microseconds), _ = pipeline.execute()
        now = int(seconds) * 1000 + int(microseconds) // 1000
        return max((abs(now - added_at(first[0][0])) / 1000 for first in oldest if first), default=0.0)

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def _read_after(self, stream: str, entry_id: str, count: int, wait_seconds: float = 0.0) -> list[Entry]:
        block = int(wait_seconds * 1000) or None  # 0 would wait without end
        with _translated():
            answer: Any = self._redis.xread({stream: entry_id}, count=count, block=block)
        read = [read_entry(name, fields) for _, entries in answer for name, fields in entries]
        if stream == STREAM:
            return read
        return [entry._replace(entry_id=entry_name(stream, entry.entry_id)) for entry in read]

    def _left_streams(self) -> tuple[str, ...]:
        """Return the streams of other divisions that are there, as of a moment ago."""
        if (now := monotonic()) >= self._look_at:
            self._left = self._existing() if self._exist(*self._others) else ()
            self._look_at = now + LOOK_SECONDS
        return self._left

    def _existing(self) -> tuple[str, ...]:
        return tuple(stream for stream in self._others if self._exist(stream))

    def _exist(self, *streams: str) -> int:
        with _translated():
            return int(cast("int", self._redis.exists(*streams)))


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
    return Intake(client, streams=settings.intake_streams)


class AsyncIntake:
    """The intake for the door's event loop: over one connection, each call within `seconds`.

    So many `replicas` have what was written when a call returns; StoreUnavailable while fewer confirm it.
    """

    def __init__(self, connection: Any, *, seconds: float, replicas: int = 0, streams: int = 1) -> None:
        self._connection = connection
        self._seconds = seconds
        self._replicas = replicas
        self._streams = streams_of(streams)
        self._turn = asyncio.Lock()

    async def put(self, deliveries: Sequence[Delivery]) -> Put:
        """As `Intake.put`."""
        *added, rung = await self._write([*map(self._packed, deliveries), RING])
        return _put(added, rung)

    def _packed(self, delivery: Delivery) -> bytes:
        stream = stream_for(delivery.body, self._streams)
        return _packed(b"XADD", stream.encode(), b"*", *chain.from_iterable(fields_of(delivery).items()))

    async def check_writable(self) -> None:
        """Raise StoreUnavailable unless Redis takes writes now; leaves nothing behind."""
        [answer] = await self._write([CHECK])
        if answer != b"OK":
            raise _unavailable(answer)

    async def _write(self, commands: Sequence[bytes]) -> list[Any]:
        if not self._replicas:
            return await self._ask(commands)
        milliseconds = b"%d" % (self._seconds * 1000 * WAIT_SHARE)
        *answers, confirmed = await self._ask([*commands, _packed(b"WAIT", b"%d" % self._replicas, milliseconds)])
        if not isinstance(confirmed, int) or confirmed < self._replicas:
            raise _unavailable(f"{confirmed} of {self._replicas} replicas have what was written")
        return answers

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
    return AsyncIntake(connection, seconds=seconds, replicas=settings.redis_replicas, streams=settings.intake_streams)


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


def _packed(*words: bytes) -> bytes:
    """One command in Redis's wire format."""
    return b"*%d\r\n" % len(words) + b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in words])


RING = _packed(b"SET", BELL.encode(), b"1", b"NX", b"PX", b"%d" % BELL_MS)
CHECK = _packed(b"SET", f"{BELL}:check".encode(), b"1", b"PX", b"1")
