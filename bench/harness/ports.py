"""Free ports for processes that start a moment later."""

from __future__ import annotations

import random
import socket
from contextlib import suppress

#: Below the range that systems use for outgoing connections, which could take the port before its process listens.
NOT_HANDED_OUT = range(10_000, 32_768)


def free_ports(count: int) -> list[int]:
    """Return different ports that nobody listens on now."""
    ports: list[int] = []
    for port in random.sample(NOT_HANDED_OUT, k=len(NOT_HANDED_OUT)):
        if len(ports) == count:
            break
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            ports.append(port)
    return ports


def free_port() -> int:
    """Return a port that nobody listens on now."""
    return free_ports(1)[0]
