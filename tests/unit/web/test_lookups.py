"""One thread finds out, now and then, whatever takes long."""

from __future__ import annotations

import threading

import pytest

from bench.harness.processes import wait_until
from console.web.lookups import Cached


def test_the_first_who_asks_waits_and_all_others_share() -> None:
    asked: list[int] = []

    def find() -> int:
        asked.append(1)
        return len(asked)

    cached = Cached(find, seconds=60)
    assert [cached.get() for _ in range(3)] == [1, 1, 1]


def test_an_old_value_is_shown_until_the_next_is_there() -> None:
    calls: list[int] = []
    found, release = threading.Event(), threading.Event()

    def find() -> int:
        calls.append(1)
        if len(calls) == 2:
            found.set()
            assert release.wait(10)
        return len(calls)

    cached = Cached(find, seconds=0, longest=60)
    assert cached.get() == 1
    assert cached.get() == 1
    assert found.wait(10)
    assert [cached.get() for _ in range(5)] == [1] * 5
    assert len(calls) == 2  # nobody else begins meanwhile
    release.set()
    wait_until(lambda: cached.get() > 1, 10)


def test_a_value_of_long_ago_is_shown_to_nobody() -> None:
    values = iter((1, 2))
    cached = Cached(lambda: next(values), seconds=0, longest=0)
    assert [cached.get(), cached.get()] == [1, 2]


def test_a_failure_is_raised_until_there_is_a_value() -> None:
    results = iter((OSError("away"), "there"))

    def find() -> str:
        result = next(results)
        if isinstance(result, OSError):
            raise result
        return result

    cached = Cached(find, seconds=60)
    with pytest.raises(OSError, match="away"):
        cached.get()
    assert cached.get() == "there"


def test_nobody_waits_who_only_peeks() -> None:
    release = threading.Event()

    def find() -> str:
        assert release.wait(10)
        return "there"

    cached = Cached(find, seconds=60)
    assert cached.peek() is None
    assert cached.peek() is None
    release.set()
    wait_until(lambda: cached.peek() == "there", 10)


def test_a_value_of_long_ago_is_not_peeked_at() -> None:
    cached = Cached(lambda: "there", seconds=0, longest=0)
    assert cached.get() == "there"
    assert cached.peek() is None
