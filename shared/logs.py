"""How every process logs: one line an event, as JSON or for people, and no secret in it."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

import structlog

from shared.known_secrets import hide, remember_settings
from shared.noise import quieten
from shared.scrub import scrub

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger

    from shared.settings import Settings

FIRST = ("delivery_id", "event", "level", "timestamp", "process")


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
