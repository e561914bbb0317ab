"""Tells systemd that this process is ready and alive (the protocol of sd_notify).

Where no NOTIFY_SOCKET is set, nothing happens. A service manager that does not listen stops no process.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

READY, ALIVE = "READY=1", "WATCHDOG=1"


def notify(state: str) -> None:
    """Send READY or ALIVE; wait for nothing."""
    if not (address := os.environ.get("NOTIFY_SOCKET")):
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.settimeout(0)
        client.connect(f"\0{address[1:]}" if address.startswith("@") else address)
        client.send(state.encode())


def notify_from(loop: asyncio.AbstractEventLoop) -> None:
    """Say READY when the loop runs, and ALIVE for as long as it goes round; call it in each process of a server."""
    if os.environ.get("NOTIFY_SOCKET"):
        loop.call_soon(_begin, loop)


def _begin(loop: asyncio.AbstractEventLoop) -> None:
    notify(READY)
    if seconds := _watchdog_seconds():
        _say_alive(loop, seconds / 3)


def _say_alive(loop: asyncio.AbstractEventLoop, every: float) -> None:
    notify(ALIVE)
    loop.call_later(every, _say_alive, loop, every)


def _watchdog_seconds() -> float:
    """Return the time in which systemd wants to hear that the process lives; 0 when it does not ask."""
    given = os.environ.get("WATCHDOG_USEC", "")
    return int(given) / 1_000_000 if given.isascii() and given.isdigit() else 0.0
