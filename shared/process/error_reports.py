"""Reports errors to Sentry, where SENTRY_DSN says so. Only this module knows Sentry's library.

A report is made from a line of the log: an ERROR, with the exception that it is about. Nothing of the library looks at
requests, tasks, calls or local variables. All text goes through the scrubber of the log, and an exception of a library
loses its message, which may repeat what somebody wrote.
"""

from __future__ import annotations

import logging
import sys
from multiprocessing.util import Finalize
from typing import TYPE_CHECKING, Any

import structlog

from shared import installed_version
from shared.process.scrub import HIDDEN, loggable

if TYPE_CHECKING:
    from sentry_sdk.types import Event, Hint

    from shared.settings import Settings

#: The first words of the names of our modules. Their exceptions have messages of ours.
OURS = frozenset({"console", "ingest", "shared", "workers"})
#: They report on themselves, and would do so for ever.
NOT_REPORTED = ("sentry_sdk", "opentelemetry", "urllib3")
STOP_SECONDS = 2.0
log = structlog.get_logger()


def handlers(settings: Settings, process: str) -> list[logging.Handler]:
    """Return the handler that reports the errors of this process; none without SENTRY_DSN or the extra `sentry`.

    Exceptions that end the process or a thread are reported, too. Call it in each forked process.
    """
    dsn = settings.sentry_dsn.get_secret_value()
    if not dsn:
        return []
    try:
        import sentry_sdk  # noqa: PLC0415 - an extra
    except ImportError:
        log.warning("errors_are_not_reported", reason="Sentry's library is missing", next="install mailroom[sentry]")
        return []
    _start(sentry_sdk, dsn)
    return [_Reporter(sentry_sdk, process)]


def _start(sentry_sdk: Any, dsn: str) -> None:
    from sentry_sdk.integrations.dedupe import DedupeIntegration  # noqa: PLC0415 - an extra
    from sentry_sdk.integrations.excepthook import ExcepthookIntegration  # noqa: PLC0415
    from sentry_sdk.integrations.threading import ThreadingIntegration  # noqa: PLC0415

    sentry_sdk.init(
        dsn=dsn,
        release=installed_version() or "source",  # with a @ it would pass for an address
        before_send=scrubbed,
        # The others read requests, tasks, command lines and calls, and add headers to calls.
        default_integrations=False,
        auto_enabling_integrations=False,
        integrations=[ExcepthookIntegration(), ThreadingIntegration(propagate_scope=False), DedupeIntegration()],
        include_local_variables=False,  # `send_default_pii` is off as well, and deprecated: naming it warns
        max_request_body_size="never",
        max_breadcrumbs=0,
        auto_session_tracking=False,
        send_client_reports=False,
    )
    Finalize(None, sentry_sdk.flush, (STOP_SECONDS,), exitpriority=0)


class _Reporter(logging.Handler):
    """Reports each line of level ERROR. It never raises."""

    def __init__(self, sentry_sdk: Any, process: str):
        super().__init__(logging.ERROR)
        self._sentry_sdk = sentry_sdk
        self._process = process

    def emit(self, record: logging.LogRecord) -> None:
        """Report the line with its ids and, if it is about one, its exception."""
        if record.name.startswith(NOT_REPORTED):
            return
        try:
            self._report(record)
        except Exception:  # noqa: BLE001 - the line itself is in the log
            self.handleError(record)

    def _report(self, record: logging.LogRecord) -> None:
        fields = dict(record.msg) if isinstance(record.msg, dict) else {"event": record.getMessage()}
        word = str(fields.pop("event", ""))
        error = _exception(fields.pop("exc_info", None) or record.exc_info)
        with self._sentry_sdk.new_scope() as scope:
            scope.set_tag("process", self._process)
            scope.set_tag("event", word)
            scope.set_context("line", {name: str(value) for name, value in fields.items()})
            if error is None:
                scope.fingerprint = [word, str(fields.get("code"))]
                scope.capture_message(word, level="error")
            else:
                scope.capture_exception(error)


def _exception(given: Any) -> BaseException | None:
    """Return the exception of a line: the given one, or the one that is handled while the line is written."""
    if isinstance(given, BaseException):
        return given
    if isinstance(given, tuple):
        return given[1] if isinstance(given[1], BaseException) else None
    return sys.exception()


def scrubbed(event: Event, _hint: Hint) -> Event:
    """Return the report without anything that is not for Sentry."""
    exceptions = (event.get("exception") or {}).get("values") or []
    for each in exceptions:
        if str(each.get("module")).partition(".")[0] not in OURS:
            each["value"] = HIDDEN
    cleaned: Event = _clean(event)
    return cleaned


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return loggable(value)
    if isinstance(value, dict):
        return {_clean(name): _clean(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean(each) for each in value]
    return value
