"""Runs the door: `python -m ingest`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels

from ingest.forked import prepare_processes
from ingest.metrics_folder import metrics_folder
from ingest.settings import door_settings
from shared.errors import ConfigurationError
from shared.logs import configure

if TYPE_CHECKING:
    from granian.server.common import AbstractServer

    from shared.settings import Settings

TARGET = "ingest.wsgi:app"
EXIT_CONFIGURATION = 78

# A process; more wait to be accepted. Each may hold a thread: Granian hands a request over with its headers, and the
# thread reads the body. With 32 threads 64 slow senders shut the door (measured). Threads start when needed.
CONNECTIONS = 1024
HEADER_SECONDS = 10
DRAIN_SECONDS = 20
# Granian's lines go where ours go.
TO_OUR_LOG = {"formatters": {}, "handlers": {}, "loggers": {"_granian": {"handlers": [], "propagate": True}}}


def main() -> int:
    """Serve until TERM or INT (0); 78 when the settings are wrong."""
    try:
        settings = door_settings()
    except ConfigurationError as exc:
        print(exc, file=sys.stderr)
        return EXIT_CONFIGURATION
    configure(settings, "door")
    with metrics_folder() as folder:
        os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", folder)  # before shared.metrics is imported
        prepare_processes()
        _server(settings).serve()
    return 0


def _server(settings: Settings) -> AbstractServer[Any]:
    return Granian(
        TARGET,
        address=settings.host,
        port=settings.port,
        interface=Interfaces.WSGI,
        workers=settings.web_concurrency,
        blocking_threads=CONNECTIONS,
        backlog=2 * CONNECTIONS,
        backpressure=CONNECTIONS,
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
