"""How every process logs: one line an event, as JSON or for people, and no secret in it."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

import structlog

from shared.process.scrub import hide, remember_settings, scrub

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger

    from shared.settings import Settings

FIRST = ("delivery_id", "event", "level", "timestamp", "process")

# Celery's lines about each message: the rows have what became of a task.
MESSAGES = ("celery.app.trace", "celery.worker.strategy", "celery.worker.consumer.connection")
# It tells about a lost Redis in a line with a traceback of Celery's own, and warns its developers.
CONSUMER, WARNINGS = "celery.worker.consumer.consumer", "py.warnings"
# At DEBUG these print headers and bodies.
WIRE = ("urllib3", "requests_oauthlib", "oauthlib")
SERVER = "_granian"
# The door's threads mostly wait; Granian counts them against the processors.
ADVICE = "Configuration allows spawning"


def configure(settings: Settings, process: str) -> None:
    """Send the log of this process, its libraries' included, to stderr. May be called again."""
    remember_settings(settings)
    shared = _shared(process)
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()], processors=_rendering(_is_json(settings))
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level)
    quieten(root.level)
    structlog.configure(
        processors=[
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(root.level),
        cache_logger_on_first_use=True,
    )


def _is_json(settings: Settings) -> bool:
    return settings.log_format == "json" or (settings.log_format == "auto" and not sys.stderr.isatty())


def _shared(process: str) -> list[Processor]:
    def name_process(_: WrappedLogger, __: str, event_dict: EventDict) -> EventDict:
        event_dict.setdefault("process", process)
        return event_dict

    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        name_process,
    ]


def _rendering(as_json: bool) -> list[Processor]:
    last: list[Processor] = (
        [_delivery_first, structlog.processors.JSONRenderer(ensure_ascii=False, default=str)]
        if as_json
        else [_for_people, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0, pad_level=False)]
    )
    return [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        structlog.processors.StackInfoRenderer(),
        _scrub,
        *last,
    ]


def _scrub(_: WrappedLogger, __: str, event_dict: EventDict) -> EventDict:
    return {name: _scrubbed(value) for name, value in event_dict.items()}


def _scrubbed(value: Any) -> Any:
    return value if isinstance(value, (int, float, bool, type(None))) else scrub(hide(str(value)))


def _delivery_first(_: WrappedLogger, __: str, event_dict: EventDict) -> EventDict:
    first = {name: event_dict.pop(name) for name in FIRST if name in event_dict}
    return first | dict(event_dict)


def _for_people(_: WrappedLogger, __: str, event_dict: EventDict) -> EventDict:
    """A terminal shows one day and says by itself which process this is."""
    event_dict.pop("process", None)
    event_dict["timestamp"] = event_dict["timestamp"][11:19]
    if delivery_id := event_dict.pop("delivery_id", None):
        event_dict["event"] = f"{delivery_id} {event_dict.get('event', '')}"
    return event_dict


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
