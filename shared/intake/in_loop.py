"""Puts deliveries into the intake from an event loop: no thread is woken for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import redis
from redis.asyncio.connection import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from shared.intake.client import RING, Put, packed_delivery, refusal, unavailable
from shared.intake.replies import read_replies

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.intake.replies import Reply
    from shared.models import Delivery
    from shared.settings import Settings

PIECE = 64 * 1024


class IntakeInLoop:
    """`Intake.put` over one connection, a batch at a time, each within `seconds`: also where no name is resolved."""

    def __init__(self, connection: Any, *, seconds: float) -> None:
        self._connection = connection
        self._seconds = seconds

    async def put(self, deliveries: Sequence[Delivery]) -> Put:
        """As `Intake.put`."""
        commands = [*map(packed_delivery, deliveries), RING]
        try:
            async with asyncio.timeout(self._seconds):
                *added, rung = await self._exchange(commands)
        except TimeoutError:
            raise unavailable(f"no answer within {self._seconds} s") from None
        except (redis.RedisError, OSError, ValueError) as exc:
            raise unavailable(exc) from exc
        return Put(refusals=tuple(map(refusal, added)), bell_was_silent=rung == b"OK")

    async def _exchange(self, commands: Sequence[bytes]) -> list[Reply]:
        connection = self._connection
        try:
            if connection.is_connected and connection._reader.at_eof():  # closed while nobody asked
                await connection.disconnect(nowait=True)
            await connection.connect()
            await connection.send_packed_command(b"".join(commands))
            return await self._replies(len(commands))
        except BaseException:
            await connection.disconnect(nowait=True)  # answers may still come, and are nobody's
            raise

    async def _replies(self, count: int) -> list[Reply]:
        data = b""
        while (replies := read_replies(data, count)) is None:
            piece = await self._connection._reader.read(PIECE)  # read_response: 20 us a reply
            if not piece:
                raise redis.ConnectionError("the connection was closed")
            data += piece
        return replies


def open_intake_in_loop(settings: Settings, *, seconds: float) -> IntakeInLoop:
    """The intake at REDIS_URL. Connects when first used, and tries nothing twice."""
    pool: Any = ConnectionPool.from_url(
        settings.redis_url.get_secret_value(),
        socket_keepalive=True,
        retry=Retry(NoBackoff(), 0),
        lib_name=None,  # saves two round trips a connection
        lib_version=None,
    )
    return IntakeInLoop(pool.make_connection(), seconds=seconds)
