"""Runs the console: `python -m console.web`."""

from __future__ import annotations

import sys
from multiprocessing.util import Finalize
from typing import TYPE_CHECKING

from granian.constants import Interfaces

from console.web.app import create_app
from console.web.resources import THREADS, open_resources, usable
from shared.errors import ConfigurationError
from shared.process.heartbeat import Heartbeat
from shared.process.logs import configure
from shared.process.serving import prepare_forks, server
from shared.settings import current

if TYPE_CHECKING:
    from flask import Flask

EXIT_CONFIGURATION = 78
WAITING = 256  # requests beyond those that are answered just now


def application() -> Flask:
    """Make the application in Granian's process, and say every few seconds that this process is alive."""
    configure(current(), "console")
    resources = open_resources(current())
    heartbeat = Heartbeat(resources.pool, resources.name, "console")
    heartbeat.start()
    # A forked process runs these at its end, and nothing that is registered with atexit.
    Finalize(None, resources.pool.close, exitpriority=1)
    Finalize(None, heartbeat.stop, exitpriority=2)
    return create_app(current(), resources=resources)


def main() -> int:
    """Serve until TERM or INT (0); 78 when the settings are wrong."""
    try:
        settings = usable(current())
    except ConfigurationError as exc:
        print(exc, file=sys.stderr)
        return EXIT_CONFIGURATION
    configure(settings, "console")
    prepare_forks()
    server(
        "console.web.__main__:application",
        settings,
        port=settings.console_port,
        interface=Interfaces.WSGI,
        workers=1,
        factory=True,
        blocking_threads=THREADS,
        backpressure=WAITING,
    ).serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())
