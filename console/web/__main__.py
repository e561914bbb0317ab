"""Serve the console: `python -m console.web`.

Granian starts a process and imports this module there a second time, by its name, to call `application`. The module
only defines things, so that the second import changes nothing.
"""

from __future__ import annotations

import sys
from multiprocessing.util import Finalize
from typing import TYPE_CHECKING

from granian.constants import Interfaces

from console.web.app import create_app
from console.web.resources import REQUIRED_SETTINGS, THREADS, open_resources, require_usable
from shared.errors import ConfigurationError
from shared.process.heartbeat import Heartbeat
from shared.process.logs import configure
from shared.process.serving import prepare_forks, server, stop_with_parent
from shared.redis_clients import refuse_redis_cluster
from shared.settings import current

if TYPE_CHECKING:
    from flask import Flask

EXIT_CONFIGURATION = 78
MOST_WAITING = 256  # requests beyond those that the threads answer


def main() -> int:
    """Serve until TERM or INT (0); return 78 if the settings are wrong."""
    try:
        _serve()
    except ConfigurationError as exc:
        print(exc, file=sys.stderr)
        return EXIT_CONFIGURATION
    return 0


def _serve() -> None:
    settings = require_usable(current(*REQUIRED_SETTINGS))
    refuse_redis_cluster(settings.redis_url.get_secret_value())
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
        backpressure=MOST_WAITING,
    ).serve()


def application() -> Flask:
    """Make the application in Granian's process, and start its heartbeat."""
    stop_with_parent()
    configure(current(), "console")
    resources = open_resources(current())
    heartbeat = Heartbeat(resources.pool, resources.name, "console")
    heartbeat.start()
    # At its end a process of multiprocessing runs these, and nothing that is registered with atexit.
    Finalize(None, resources.pool.close, exitpriority=1)
    Finalize(None, heartbeat.stop, exitpriority=2)
    return create_app(current(), resources=resources)


if __name__ == "__main__":
    sys.exit(main())
