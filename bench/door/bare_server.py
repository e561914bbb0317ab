"""The door's server without a door: `python -m bench.door.bare_server MODULE:APP` runs another application on it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ingest.__main__ import main

if TYPE_CHECKING:
    from granian.rsgi import HTTPProtocol, Scope  # type: ignore[attr-defined]  # named in Granian's documentation


async def app(_: Scope, proto: HTTPProtocol) -> None:
    """Take the body and answer 200, without Flask."""
    await proto()
    proto.response_empty(200, [("content-length", "0")])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
