"""Runs the door: `python -m ingest`."""

from __future__ import annotations

import os
import resource
import sys

from granian.constants import Interfaces

from ingest.forked import prepare_processes
from ingest.metrics_folder import metrics_folder
from ingest.settings import door_settings
from shared.errors import ConfigurationError
from shared.process.logs import configure
from shared.process.serving import server

TARGET = "ingest.rsgi:app"
EXIT_CONFIGURATION = 78

# Of one process; more wait to be accepted. One that sends slowly costs a few kilobytes and no thread.
CONNECTIONS = 4096
BACKLOG = 2048
SPARE_FILES = 256  # for stores, logs, metrics and what Python itself opens


def main(target: str = TARGET) -> int:
    """Serve until TERM or INT (0); 78 when the settings are wrong. Another `target` is for measuring the server."""
    try:
        settings = door_settings()
    except ConfigurationError as exc:
        print(exc, file=sys.stderr)
        return EXIT_CONFIGURATION
    configure(settings, "door")
    with metrics_folder() as folder:
        os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", folder)  # before shared.process.metrics is imported
        prepare_processes()
        server(
            target,
            settings,
            port=settings.port,
            interface=Interfaces.RSGI,
            workers=settings.web_concurrency,
            backlog=BACKLOG,
            backpressure=_connections(),
        ).serve()
    return 0


def _connections() -> int:
    """As many as files may be open, after raising that limit as far as we may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS + SPARE_FILES
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return max(allowed - SPARE_FILES, allowed // 2)


if __name__ == "__main__":
    sys.exit(main())
