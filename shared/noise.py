"""What libraries log that tells nobody anything: a line a task, process ids, advice. At DEBUG all of it is shown."""

from __future__ import annotations

import logging

# Celery's lines about each message: the rows have what became of a task.
MESSAGES = ("celery.app.trace", "celery.worker.strategy", "celery.worker.consumer.connection")
# At DEBUG these print headers and bodies.
WIRE = ("urllib3", "requests_oauthlib", "oauthlib")
SERVER = "_granian"
# The door's threads mostly wait; Granian counts them against the processors.
ADVICE = "Configuration allows spawning"


def quieten(level: int) -> None:
    """Set the libraries' loggers for a process that logs from `level` on. May be called again."""
    for name in WIRE:
        logging.getLogger(name).setLevel(max(logging.INFO, level))
    for name in MESSAGES:
        logging.getLogger(name).setLevel(max(logging.WARNING, level) if level > logging.DEBUG else level)
    server = logging.getLogger(SERVER)
    server.removeFilter(matters)
    if level > logging.DEBUG:
        server.addFilter(matters)


def matters(record: logging.LogRecord) -> bool:
    """Whether a line of the server says more than that it starts and stops as asked."""
    text = str(record.msg)
    return text.startswith("Listening") or (record.levelno > logging.INFO and not text.startswith(ADVICE))
