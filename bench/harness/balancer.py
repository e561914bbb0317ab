"""A load balancer before several doors: `python -m bench.harness.balancer PORT FILE`.

The file has the address of each door, one a line, and is read again for every check. Connections are passed on in
turns, and to the next address where one does not answer. A door in the file that does not say that it is ready gets
none, and those to it end, as load balancers can be told. Those to a door that was taken out of the file may end well.
"""

from __future__ import annotations

import asyncio
import itertools
import signal
import sys
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

CONNECTS_WITHIN = 0.3
CHECK_EVERY, CHECKED_WITHIN = 0.5, 1.0
CHECK = b"GET /readyz HTTP/1.1\r\nHost: door\r\nConnection: close\r\n\r\n"
PIECE = 65536


class Balancer:
    """Passes connections on to the doors that are ready."""

    def __init__(self, doors: Path) -> None:
        self._file = doors
        self._turns = itertools.count()
        self._ready: list[str] = []
        self._open: defaultdict[str, set[asyncio.StreamWriter]] = defaultdict(set)

    async def serve(self, port: int) -> None:
        """Serve until TERM."""
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        checks = asyncio.create_task(self._keep_checking())
        await asyncio.start_server(self._pass_on, "127.0.0.1", port)
        await stop.wait()
        checks.cancel()

    async def _keep_checking(self) -> None:
        while True:
            doors = self._file.read_text(encoding="utf-8").split()
            answers = await asyncio.gather(*map(_is_ready, doors))
            self._ready = [door for door, is_ready in zip(doors, answers, strict=True) if is_ready]
            for door in self._open.keys() & set(doors) - set(self._ready):
                for writer in self._open.pop(door):
                    writer.transport.abort()
            await asyncio.sleep(CHECK_EVERY)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for door in self._in_turn():
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(CONNECTS_WITHIN):
                    door_reader, door_writer = await asyncio.open_connection(*_split(door))
                break
        else:
            writer.transport.abort()
            return
        both = (writer, door_writer)
        self._open[door].update(both)
        try:
            await asyncio.gather(_copy(reader, door_writer), _copy(door_reader, writer))
        finally:
            self._open[door].difference_update(both)

    def _in_turn(self) -> list[str]:
        first = next(self._turns) % max(len(self._ready), 1)
        return self._ready[first:] + self._ready[:first]


async def _is_ready(door: str) -> bool:
    try:
        async with asyncio.timeout(CHECKED_WITHIN):
            reader, writer = await asyncio.open_connection(*_split(door))
            try:
                writer.write(CHECK)
                return b" 200 " in await reader.readline()
            finally:
                writer.transport.abort()
    except (OSError, TimeoutError):
        return False


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until the end, and end the other side then."""
    with suppress(OSError):
        while piece := await reader.read(PIECE):
            writer.write(piece)
            await writer.drain()
    writer.close()


def _split(door: str) -> tuple[str, int]:
    address, _, port = door.partition(":")
    return address, int(port)


if __name__ == "__main__":
    asyncio.run(Balancer(Path(sys.argv[2])).serve(int(sys.argv[1])))
