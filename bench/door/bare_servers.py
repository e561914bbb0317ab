"""Servers that keep nothing, to find the limits of a server and of the sender.

`python -m bench.door.bare_servers granian MODULE:APP` runs another application on the door's own server.
`python -m bench.door.bare_servers answers PORT` answers without reading requests: the sender reaches its limit there.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from bench.door.load import message_length

if TYPE_CHECKING:
    from granian.rsgi import HTTPProtocol, Scope  # type: ignore[attr-defined]  # named in Granian's documentation

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


async def app(_: Scope, proto: HTTPProtocol) -> None:
    """Take the body and answer 200, on Granian without Flask."""
    await proto()
    proto.response_empty(200, [("content-length", "0")])


class Answers(asyncio.Protocol):
    """Counts the bytes of each request and answers 200."""

    def __init__(self) -> None:
        self._missing = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the transport for the answers."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer once a request is complete; the sender sends its head in one piece."""
        self._missing = (self._missing or message_length(data, body_length=0) or 0) - len(data)
        if self._missing == 0:
            self._transport.write(ANSWER)


async def serve(port: int) -> None:
    """Serve until killed."""
    server = await asyncio.get_running_loop().create_server(Answers, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


def main(kind: str, argument: str) -> int:
    """Run one of the servers."""
    if kind == "answers":
        asyncio.run(serve(int(argument)))
        return 0
    from ingest.__main__ import main as serve_on_granian  # noqa: PLC0415 -- the other server must not load it

    return serve_on_granian(argument)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
