"""Redis answers oddly: only a clear answer counts as kept, and no answer is taken for that of another batch."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from shared.errors import StoreUnavailable
from shared.intake.client import open_async_intake
from shared.models import Delivery
from shared.settings import Settings

if TYPE_CHECKING:
    from shared.intake.client import AsyncIntake

SECONDS = 1.0
DELIVERY = Delivery(id="0" * 32, received_at=datetime(2026, 1, 1, tzinfo=UTC), body=b"{}")
KEPT = b"$3\r\n1-0\r\n+OK\r\n"
FULL = b"-OOM used memory\r\n-OOM used memory\r\n"
END = b"\r\nPX\r\n$4\r\n1000\r\n"  # end of the bell's command, the last one of a batch


def puts_kept(*script: bytes | None) -> list[bool]:
    """Return whether each put was kept. Redis answers a batch of None with KEPT only when the next batch comes."""
    answers = list(script)
    peers: list[asyncio.StreamWriter] = []
    late: list[asyncio.StreamWriter] = []

    async def redis(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peers.append(writer)
        with suppress(asyncio.IncompleteReadError):
            while await reader.readuntil(END):
                for old in late:
                    old.write(KEPT)
                _answer(answers.pop(0), writer, late)

    async def put_all() -> list[bool]:
        async with await asyncio.start_server(redis, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            intake = open_async_intake(Settings(redis_url=f"redis://127.0.0.1:{port}/0"), seconds=SECONDS)
            kept = [await _is_kept(intake) for _ in script]
            await intake._connection.disconnect()
            for peer in peers:
                peer.close()
                with suppress(OSError):
                    await peer.wait_closed()
            return kept

    return asyncio.run(put_all())


def _answer(answer: bytes | None, writer: asyncio.StreamWriter, late: list[asyncio.StreamWriter]) -> None:
    if answer is None:
        late.append(writer)
        return
    writer.write(answer)
    if not answer.endswith(b"\r\n"):
        writer.close()


async def _is_kept(intake: AsyncIntake) -> bool:
    try:
        return (await intake.put([DELIVERY])).refusals == (None,)
    except StoreUnavailable:
        return False


def test_a_late_answer_is_not_taken_for_the_answer_to_the_next() -> None:
    assert puts_kept(None, FULL, KEPT) == [False, False, True]


@pytest.mark.parametrize(
    "answer",
    [
        FULL,
        b"+OK\r\n+OK\r\n",
        b"+QUEUED\r\n+QUEUED\r\n",
        b"$-1\r\n+OK\r\n",
        b"*1\r\n:1\r\n+OK\r\n",
        b">2\r\n+invalidate\r\n*0\r\n" + KEPT,
        b"$3\r\n1-0\r\n+O",  # then the connection is closed
    ],
    ids=["full", "status", "queued", "nothing", "list", "push", "cut"],
)
def test_anything_but_an_entry_id_is_not_kept_and_harms_nothing_after_it(answer: bytes) -> None:
    assert puts_kept(answer, KEPT) == [False, True]
