"""What our Granian servers share: how they serve, where their lines go, and what their processes do first."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

from granian import Granian
from granian.constants import HTTPModes
from granian.http import HTTP1Settings
from granian.log import LogLevels

if TYPE_CHECKING:
    from granian.constants import Interfaces
    from granian.server.common import AbstractServer

    from shared.settings import Settings


HEADER_SECONDS = 10
DRAIN_SECONDS = 20
LOOK_EVERY = 1.0  # seconds
# Granian's lines go where ours go.
TO_OUR_LOG: dict[str, Any] = {
    "formatters": {},
    "handlers": {},
    "loggers": {"_granian": {"handlers": [], "propagate": True}},
}


def server(
    target: str, settings: Settings, *, port: int, interface: Interfaces, workers: int, **own: Any
) -> AbstractServer[Any]:
    """A server of ours for an application; `own`: what Granian takes besides and only this one needs."""
    return Granian(
        target,
        address=settings.host,
        port=port,
        interface=interface,
        workers=workers,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=HEADER_SECONDS * 1000),
        websockets=False,
        respawn_failed_workers=True,
        workers_kill_timeout=DRAIN_SECONDS,
        log_level=LogLevels(settings.log_level.lower()),
        log_dictconfig=TO_OUR_LOG,
        **own,
    )


def prepare_forks() -> None:
    """From now on, a forked process stops when told while it starts, and when its parent is gone."""
    os.register_at_fork(before=_hold_term, after_in_parent=_let_term_come, after_in_child=_begin)


def _begin() -> None:
    # The parent's handler comes along with the fork and swallows a TERM until Granian has set its own. One that came
    # before this line was held and ends the process now.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _let_term_come()
    threading.Thread(target=_stop_as_orphan, args=(os.getppid(),), name="orphan-watch", daemon=True).start()


def _hold_term() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def _let_term_come() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def _stop_as_orphan(parent: int) -> None:
    # After a kill -9 of the parent nobody else would: the port stays taken by a server that no one can stop.
    while os.getppid() == parent:
        time.sleep(LOOK_EVERY)
    os.kill(os.getpid(), signal.SIGTERM)
