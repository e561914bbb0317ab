"""One call runs in the background; `take` returns its result or raises its error."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from workers.recording.prefetch import BackgroundResult


@pytest.fixture
def background() -> Iterator[BackgroundResult[str]]:
    background: BackgroundResult[str] = BackgroundResult()
    yield background
    background.close()


def fail(told: threading.Event | None = None) -> str:
    """Set the event, and raise."""
    if told:
        told.set()
    raise TimeoutError


def test_without_a_start_the_result_is_none(background: BackgroundResult[str]) -> None:
    assert background.take() is None


def test_the_result_is_returned_once(background: BackgroundResult[str]) -> None:
    background.start(lambda: "a batch")
    assert background.take() == "a batch"
    assert background.take() is None


def test_the_call_runs_in_another_thread(background: BackgroundResult[str]) -> None:
    told = threading.Event()
    background.start(lambda: "told" if told.wait(60) else "waited in vain")
    told.set()
    assert background.take() == "told"


def test_an_error_is_raised_by_take(background: BackgroundResult[str]) -> None:
    background.start(fail)
    with pytest.raises(TimeoutError):
        background.take()
    assert background.take() is None


def test_discard_waits_for_the_end_and_drops_the_result(background: BackgroundResult[str]) -> None:
    told = threading.Event()
    background.start(lambda: fail(told))
    background.discard()
    assert told.is_set()
    assert background.take() is None
