"""Runs another application on the door's server: `python -m bench.door.bare_server MODULE:FACTORY`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ingest.__main__ import main

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from granian.rsgi import HTTPProtocol, Scope  # type: ignore[attr-defined]  # named in Granian's documentation


def open_bare() -> Callable[[Scope, HTTPProtocol], Awaitable[None]]:
    """Return an application without Flask, as Granian calls it."""
    return _answer


async def _answer(_: Scope, proto: HTTPProtocol) -> None:
    """Take the body and answer 200."""
    await proto()
    proto.response_empty(200, [("content-length", "0")])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
