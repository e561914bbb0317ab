"""Granian as all our servers run it: its options, its log, and the signals of its forked processes."""

from __future__ import annotations

import ipaddress
import os
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

from granian import Granian
from granian.constants import HTTPModes
from granian.http import HTTP1Settings
from granian.log import LogLevels

from shared.errors import ConfigurationError

if TYPE_CHECKING:
    from granian.constants import Interfaces
    from granian.server.common import AbstractServer

    from shared.settings import Settings

HEADER_SECONDS = 10
DRAIN_SECONDS = 20
ORPHAN_CHECK_SECONDS = 1.0
_HOST_FIX = "set it to 0.0.0.0 (reachable from outside) or 127.0.0.1, or unset it"
_SHELL = ": some shells set HOST themselves"
#: Granian adds no handlers of its own, so that its lines reach our log.
_LOG_CONFIG: dict[str, Any] = {
    "formatters": {},
    "handlers": {},
    "loggers": {"_granian": {"handlers": [], "propagate": True}},
}


def server(
    target: str, settings: Settings, *, port: int, interface: Interfaces, workers: int, **options: Any
) -> AbstractServer[Any]:
    """Return a server for the application `target`. `options`: arguments of Granian that only this server needs.

    Raises ConfigurationError.
    """
    return Granian(
        target,
        address=listen_address(settings.listen_host),
        port=port,
        interface=interface,
        workers=workers,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=HEADER_SECONDS * 1000),
        websockets=False,
        respawn_failed_workers=True,
        workers_kill_timeout=DRAIN_SECONDS,
        log_level=LogLevels(settings.log_level.lower()),
        log_dictconfig=_LOG_CONFIG,
        **options,
    )


def listen_address(host: str, *, setting: str = "HOST") -> str:
    """Return the IP address of a name or address of this machine. Raises ConfigurationError."""
    fix = _HOST_FIX + (_SHELL if setting == "HOST" else "")
    try:
        found = socket.getaddrinfo(host.removeprefix("[").removesuffix("]"), None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise ConfigurationError(f"{setting}: {host!r} is neither an address nor a name that resolves; {fix}") from None
    addresses = dict.fromkeys(str(each[4][0]) for each in found)
    for address in sorted(addresses, key=lambda each: ipaddress.ip_address(each).version):
        if _can_listen(address):
            return address
    raise ConfigurationError(f"{setting}: {host!r} is no address of this machine; {fix}")


def _can_listen(address: str) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.bind((address, 0))
    except OSError:
        return False
    return True


def prepare_forks() -> None:
    """Let each process forked from now on stop when TERM comes while it starts, and when its parent has died."""
    os.register_at_fork(before=_block_term, after_in_parent=_unblock_term, after_in_child=_start_child)


def _start_child() -> None:
    # A forked process inherits the parent's handler, which would swallow TERM until Granian sets its own. A TERM that
    # came before this line was blocked, and ends the process now.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _unblock_term()
    threading.Thread(target=_stop_as_orphan, args=(os.getppid(),), name="orphan-watch", daemon=True).start()


def _block_term() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def _unblock_term() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def _stop_as_orphan(parent: int) -> None:
    # Nothing else stops this process after a kill -9 of its parent, and it would keep the port.
    while os.getppid() == parent:
        time.sleep(ORPHAN_CHECK_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
