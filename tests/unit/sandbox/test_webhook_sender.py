"""A webhook is tried until it is delivered, at most as often as allowed."""

from __future__ import annotations

import threading

import pytest

from sandbox.webhook_sender import DeliveryQueue


def attempts(items: list[str], refuse: int, tries: int) -> list[tuple[str, int]]:
    """Deliver items to a receiver that refuses the first `refuse` attempts of each, and return all attempts."""
    seen: list[tuple[str, int]] = []
    lock = threading.Lock()

    def attempt(item: str, number: int) -> bool:
        with lock:
            seen.append((item, number))
        return number > refuse

    queue = DeliveryQueue(attempt, threads=2, tries=tries, retry_seconds=0.01)
    for item in items:
        queue.put(item)
    queue.wait()
    queue.close()
    return sorted(seen)


@pytest.mark.parametrize(
    ("refuse", "tries", "numbers"),
    [(0, 3, [1]), (1, 3, [1, 2]), (9, 3, [1, 2, 3]), (9, 1, [1])],
)
def test_an_item_is_tried_until_it_is_delivered_or_given_up(refuse: int, tries: int, numbers: list[int]) -> None:
    assert attempts(["a", "b"], refuse, tries) == [(each, n) for each in "ab" for n in numbers]


def test_a_waiting_retry_holds_no_thread() -> None:
    done = threading.Event()

    def attempt(item: str, number: int) -> bool:
        if item == "last":
            done.set()
        return item == "last" or number > 1

    queue = DeliveryQueue(attempt, threads=1, tries=2, retry_seconds=60)
    for item in ("first", "second", "last"):
        queue.put(item)
    assert done.wait(5)
    assert queue.open == 2
    queue.close()
