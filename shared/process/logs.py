"""How every process logs: one line for each event, as JSON or for people, without secrets and library chatter."""

from __future__ import annotations

import logging
import re
import string
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import structlog

from shared import installed_version
from shared.process import error_reports
from shared.process.scrub import hide, loggable, remember_settings

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


#: An id that shows nothing but itself. One in another form is searched for secrets and addresses before it is logged.
_PLAIN_ID = re.compile(r"(?!mr_)[\w.:-]{0,100}", re.ASCII)
#: The bytes of lines with such ids alone.
_PLAIN_BYTES = (string.ascii_letters + string.digits + '_.:,{}"\n-').encode()
MAX_PLAIN_LINE = 600  # characters
_PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
log = structlog.get_logger()


def configure(settings: Settings, process: str) -> None:
    """Send the log of this process and of its libraries to stderr, and errors to SENTRY_DSN. May be called again."""
    remember_settings(settings)
    common = _common_processors(process)
    handler = logging.StreamHandler()
    handler.setFormatter(
        _Formatter(
            process,
            as_json=_is_json(settings),
            foreign_pre_chain=[*common, structlog.stdlib.ExtraAdder()],
            processors=_renderers(_is_json(settings)),
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
    root.handlers += error_reports.handlers(settings, process)


def log_start(kind: str) -> None:
    """Say that a process of this kind starts, and with which version."""
    log.info("process_starts", kind=kind, version=installed_version() or _source_version())


def log_each(lines: Iterable[Mapping[str, Any]]) -> None:
    """Log many INFO lines at once, for little: each mapping has its `event`, ids, and words of ours."""
    root = logging.getLogger()
    if root.isEnabledFor(logging.INFO):
        record = logging.LogRecord(__name__, logging.INFO, __file__, 0, _Lines(lines), None, None)
        root.handle(record)


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


class _Lines:
    """The message of a record that is many lines."""

    def __init__(self, lines: Iterable[Mapping[str, Any]]):
        self.lines = lines


class _Formatter(structlog.stdlib.ProcessorFormatter):
    """Formats one line as structlog does, and many lines at once without its processors: in a fiftieth of the time."""

    def __init__(self, process: str, *, as_json: bool, **options: Any):
        super().__init__(**options)
        self._process = process
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of the record, without the newline at its end."""
        if not isinstance(record.msg, _Lines):
            return super().format(record)
        template = {
            **dict.fromkeys(FIRST_KEYS),
            "level": record.levelname.lower(),
            "timestamp": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            "process": self._process,
        }
        lines = [{**template, **line} for line in record.msg.lines]
        return hide(_as_json(lines) if self._as_json else "\n".join(_as_text(_plain(line)) for line in lines))


def _as_json(lines: list[dict[str, Any]]) -> str:
    """Write the lines. They are searched together for what may not be an id, which is far cheaper than one by one."""
    try:
        text = b"\n".join([orjson.dumps(line) for line in lines])
    except orjson.JSONEncodeError:  # half a surrogate pair, which `_plain` takes out
        text = b"?"
    if len(text) > MAX_PLAIN_LINE * len(lines) or b'"mr_' in text or text.translate(None, _PLAIN_BYTES):
        text = b"\n".join([orjson.dumps(_plain(line)) for line in lines])
    return text.decode()


def _as_text(line: dict[str, Any]) -> str:
    first = _for_people(None, "", dict(line))
    values = " ".join(
        f"{name}={_as_word(value)}" for name, value in first.items() if name not in ("event", "timestamp")
    )
    return f"{first['timestamp']} {first['event']} {values}"


def _as_word(value: Any) -> str:
    return str(value) if _PLAIN_ID.fullmatch(str(value)) else orjson.dumps(value).decode()


def _plain(line: dict[str, Any]) -> dict[str, Any]:
    """Return the line, with ids in an odd form without secrets and addresses."""
    for name, value in line.items():
        if isinstance(value, str) and not _PLAIN_ID.fullmatch(value):
            line[name] = loggable(value.encode("utf-8", "replace").decode())
    return line


def _source_version() -> str:
    """Return the version of the source folder that this runs from."""
    try:
        found = re.search(r'^version = "([^"]+)"', _PYPROJECT.read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        found = None
    return f"{found[1]}, from its source folder" if found else "unknown"


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
