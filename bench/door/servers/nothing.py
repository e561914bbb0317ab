"""Answers without looking: `python -m bench.door.servers.nothing PORT`. Here the sender reaches its own limit."""

from __future__ import annotations

import asyncio
import sys

from bench.door.message import whole_length

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Nothing(asyncio.Protocol):
    """Counts the bytes of each request, one after the other."""

    def __init__(self) -> None:
        self._missing = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer where a request is complete; its head comes in one piece, for the sender sends it so."""
        self._missing = (self._missing or whole_length(data, without=0) or 0) - len(data)
        if self._missing == 0:
            self._transport.write(ANSWER)


async def serve(port: int) -> None:
    """Until killed."""
    server = await asyncio.get_running_loop().create_server(Nothing, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
