"""Which lines of libraries are shown, and which only at DEBUG."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from shared.process.logs import filter_libraries

ADVICE = "Configuration allows spawning up to 512 Python threads, which seems quite high"


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    filter_libraries(logging.DEBUG)
    for name in ("_granian", "celery.app.trace", "py.warnings"):
        logging.getLogger(name).setLevel(logging.NOTSET)


@pytest.mark.parametrize(
    ("name", "level", "text", "shown"),
    [
        ("_granian", logging.INFO, "Listening at: http://127.0.0.1:8080", True),
        ("_granian", logging.INFO, "Spawning worker-1 with PID: 7", False),
        ("_granian", logging.WARNING, ADVICE, False),
        ("_granian", logging.WARNING, "Killing worker-1 after it refused to gracefully stop", True),
        # A line for each task
        ("celery.app.trace", logging.INFO, "Task %(name)s[%(id)s] succeeded", False),
        ("celery.app.trace", logging.ERROR, "Task %(name)s[%(id)s] raised", True),
        # Once for each lost connection
        ("py.warnings", logging.WARNING, "consumer.py:397: CPendingDeprecationWarning: In Celery 5.1 we", False),
        ("py.warnings", logging.WARNING, "consumer.py:397: ResourceWarning: unclosed socket", True),
    ],
)
def test_what_is_shown_by_default(
    name: str, level: int, text: str, shown: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    logging.getLogger(name).setLevel(logging.INFO)
    filter_libraries(logging.INFO)
    logging.getLogger(name).log(level, text)
    assert bool(caplog.records) is shown


def test_a_lost_connection_is_told_without_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    filter_libraries(logging.INFO)
    try:
        raise ConnectionError("closed by server")
    except ConnectionError:
        logging.getLogger("celery.worker.consumer.consumer").warning("Connection to broker lost", exc_info=True)
    assert [record.exc_info for record in caplog.records] == [None]


def test_everything_is_shown_at_debug(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    filter_libraries(logging.INFO)
    filter_libraries(logging.DEBUG)
    logging.getLogger("_granian").warning(ADVICE)
    logging.getLogger("celery.app.trace").info("Task succeeded")
    assert len(caplog.records) == 2
