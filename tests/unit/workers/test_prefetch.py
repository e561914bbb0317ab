"""One piece of work is done ahead, and its end is whoever takes it."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from workers.recording.prefetch import BackgroundResult


@pytest.fixture
def ahead() -> Iterator[BackgroundResult[str]]:
    ahead: BackgroundResult[str] = BackgroundResult()
    yield ahead
    ahead.close()


def fail(told: threading.Event | None = None) -> str:
    """Work that goes wrong."""
    if told:
        told.set()
    raise TimeoutError


def test_nothing_begun_gives_nothing(ahead: BackgroundResult[str]) -> None:
    assert ahead.take() is None


def test_the_result_is_given_once(ahead: BackgroundResult[str]) -> None:
    ahead.start(lambda: "a batch")
    assert ahead.take() == "a batch"
    assert ahead.take() is None


def test_it_is_done_beside_whoever_began_it(ahead: BackgroundResult[str]) -> None:
    told = threading.Event()
    ahead.start(lambda: "told" if told.wait(60) else "waited in vain")
    told.set()
    assert ahead.take() == "told"


def test_what_it_raises_is_raised_to_whoever_takes_it(ahead: BackgroundResult[str]) -> None:
    ahead.start(fail)
    with pytest.raises(TimeoutError):
        ahead.take()
    assert ahead.take() is None


def test_what_is_dropped_has_ended_and_is_not_given(ahead: BackgroundResult[str]) -> None:
    told = threading.Event()
    ahead.start(lambda: fail(told))
    ahead.discard()
    assert told.is_set()
    assert ahead.take() is None
