"""Runs the console: `python -m console.web`."""

from __future__ import annotations

import sys

from granian.constants import Interfaces

from console.web.resources import THREADS, usable
from shared.errors import ConfigurationError
from shared.process.logs import configure
from shared.process.serving import prepare_forks, server
from shared.settings import current

EXIT_CONFIGURATION = 78
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
    server(
        "console.web.wsgi:app",
        settings,
        port=settings.console_port,
        interface=Interfaces.WSGI,
        workers=1,
        blocking_threads=THREADS,
        backpressure=WAITING,
    ).serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())
