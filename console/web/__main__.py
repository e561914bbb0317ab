"""Runs the console: `python -m console.web`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels

from console.web.resources import THREADS, usable
from shared.errors import ConfigurationError
from shared.logs import configure
from shared.serving import TO_OUR_LOG, prepare_forks
from shared.settings import current

if TYPE_CHECKING:
    from granian.server.common import AbstractServer

    from shared.settings import Settings

EXIT_CONFIGURATION = 78
HEADER_SECONDS = 10
DRAIN_SECONDS = 20
WAITING = 256  # requests beyond those that are answered just now


def main() -> int:
    """Serve until TERM or INT (0); 78 when the settings are wrong."""
    try:
        settings = usable(current())
    except ConfigurationError as exc:
        print(exc, file=sys.stderr)
        return EXIT_CONFIGURATION
    configure(settings, "console")
    prepare_forks()
    _server(settings).serve()
    return 0


def _server(settings: Settings) -> AbstractServer[Any]:
    return Granian(
        "console.web.wsgi:app",
        address=settings.host,
        port=settings.console_port,
        interface=Interfaces.WSGI,
        workers=1,
        blocking_threads=THREADS,
        backpressure=WAITING,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=HEADER_SECONDS * 1000),
        websockets=False,
        respawn_failed_workers=True,
        workers_kill_timeout=DRAIN_SECONDS,
        log_level=LogLevels(settings.log_level.lower()),
        log_dictconfig=TO_OUR_LOG,
    )


if __name__ == "__main__":
    sys.exit(main())
