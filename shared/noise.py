"""What libraries log that tells nobody anything: a line a task, process ids, advice. At DEBUG all of it is shown."""

from __future__ import annotations

import logging

# Celery's lines about each message: the rows have what became of a task.
MESSAGES = ("celery.app.trace", "celery.worker.strategy", "celery.worker.consumer.connection")
# It tells about a lost Redis in a line with a traceback of Celery's own, and warns its developers.
CONSUMER, WARNINGS = "celery.worker.consumer.consumer", "py.warnings"
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
    for name, rule in ((SERVER, matters), (CONSUMER, in_one_line), (WARNINGS, for_operators)):
        logger = logging.getLogger(name)
        logger.removeFilter(rule)
        if level > logging.DEBUG:
            logger.addFilter(rule)


def matters(record: logging.LogRecord) -> bool:
    """Whether a line of the server says more than that it starts and stops as asked."""
    text = str(record.msg)
    return text.startswith("Listening") or (record.levelno > logging.INFO and not text.startswith(ADVICE))


def in_one_line(record: logging.LogRecord) -> bool:
    """Every line, but a connection that was lost without the way through Celery's code."""
    if record.levelno == logging.WARNING:
        record.exc_info = None
    return True


def for_operators(record: logging.LogRecord) -> bool:
    """Whether a warning is for others than the developers of Celery's users."""
    return "CPendingDeprecationWarning" not in record.getMessage()
