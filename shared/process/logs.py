"""How every process logs: one line for each event, as JSON or for people, without secrets and library chatter."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

import structlog

from shared.process.scrub import loggable, remember_settings

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger

    from shared.settings import Settings

#: A JSON line begins with these keys, in this order.
FIRST_KEYS = ("delivery_id", "event", "level", "timestamp", "process")

#: Celery logs lines about each message here; our rows tell what became of a task.
_MESSAGE_LOGGERS = ("celery.app.trace", "celery.worker.strategy", "celery.worker.consumer.connection")
#: Celery reports a lost Redis here, with a traceback through its own code.
_CONSUMER_LOGGER = "celery.worker.consumer.consumer"
#: Celery's warnings to its developers arrive here.
_WARNINGS_LOGGER = "py.warnings"
#: At DEBUG urllib3 logs the path of each request.
_HTTP_LOGGER = "urllib3"
#: psycopg's pool logs each failed connection here; the callers that got none say why.
_POOL_LOGGER = "psycopg.pool"
_SERVER_LOGGER = "_granian"
#: Granian's warning about many threads. The door's threads mostly wait, and Granian compares them with the processors.
_THREAD_WARNING = "Configuration allows spawning"


def configure(settings: Settings, process: str) -> None:
    """Send the log of this process and of its libraries to stderr. May be called again."""
    remember_settings(settings)
    common = _common_processors(process)
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*common, structlog.stdlib.ExtraAdder()], processors=_renderers(_is_json(settings))
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level)
    filter_libraries(root.level)
    structlog.configure(
        processors=[*common, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(root.level),
        cache_logger_on_first_use=True,
    )


def filter_libraries(level: int) -> None:
    """Set the loggers of libraries for a process that logs from `level` on. May be called again."""
    logging.getLogger(_HTTP_LOGGER).setLevel(max(logging.INFO, level))
    logging.getLogger(_POOL_LOGGER).setLevel(max(logging.ERROR, level) if level > logging.DEBUG else level)
    for name in _MESSAGE_LOGGERS:
        logging.getLogger(name).setLevel(max(logging.WARNING, level) if level > logging.DEBUG else level)
    filters = (
        (_SERVER_LOGGER, _is_server_news),
        (_CONSUMER_LOGGER, _without_traceback),
        (_WARNINGS_LOGGER, _is_for_operators),
    )
    for name, log_filter in filters:
        logger = logging.getLogger(name)
        logger.removeFilter(log_filter)
        if level > logging.DEBUG:
            logger.addFilter(log_filter)


def _is_server_news(record: logging.LogRecord) -> bool:
    """Whether a line of the server says more than that it starts and stops as asked."""
    text = str(record.msg)
    is_warning = record.levelno > logging.INFO and not text.startswith(_THREAD_WARNING)
    return is_warning or text.startswith("Listening")


def _without_traceback(record: logging.LogRecord) -> bool:
    """Keep every line, and drop the traceback from warnings: they report a lost connection."""
    if record.levelno == logging.WARNING:
        record.exc_info = None
    return True


def _is_for_operators(record: logging.LogRecord) -> bool:
    """Whether a warning is for more people than the developers of programs that use Celery."""
    return "CPendingDeprecationWarning" not in record.getMessage()


def _is_json(settings: Settings) -> bool:
    return settings.log_format == "json" or (settings.log_format == "auto" and not sys.stderr.isatty())


def _common_processors(process: str) -> list[Processor]:
    def add_process(_: WrappedLogger, __: str, event_dict: EventDict) -> EventDict:
        event_dict.setdefault("process", process)
        return event_dict

    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_process,
    ]


def _renderers(as_json: bool) -> list[Processor]:
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
    return {name: _scrubbed_value(value) for name, value in event_dict.items()}


def _scrubbed_value(value: Any) -> Any:
    return value if isinstance(value, (int, float, bool, type(None))) else loggable(str(value))


def _delivery_first(_: WrappedLogger, __: str, event_dict: EventDict) -> EventDict:
    first = {name: event_dict.pop(name) for name in FIRST_KEYS if name in event_dict}
    return first | dict(event_dict)


def _for_people(_: WrappedLogger, __: str, event_dict: EventDict) -> EventDict:
    """Shorten the line for a terminal: the reader knows the day and the process."""
    event_dict.pop("process", None)
    event_dict["timestamp"] = event_dict["timestamp"][11:19]
    if delivery_id := event_dict.pop("delivery_id", None):
        event_dict["event"] = f"{delivery_id} {event_dict.get('event', '')}"
    return event_dict
