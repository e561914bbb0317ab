"""Parcels are tried until someone signs for them, and no longer than allowed."""

from __future__ import annotations

import threading

import pytest

from sandbox.webhook_sender import DeliveryQueue


def carried(parcels: list[str], refuse: int, tries: int) -> list[tuple[str, int]]:
    """Deliver parcels to an addressee who refuses each the first `refuse` times."""
    seen: list[tuple[str, int]] = []
    lock = threading.Lock()

    def attempt(parcel: str, number: int) -> bool:
        with lock:
            seen.append((parcel, number))
        return number > refuse

    queue = DeliveryQueue(attempt, threads=2, tries=tries, retry_seconds=0.01)
    for parcel in parcels:
        queue.put(parcel)
    queue.wait()
    queue.close()
    return sorted(seen)


@pytest.mark.parametrize(
    ("refuse", "tries", "numbers"),
    [(0, 3, [1]), (1, 3, [1, 2]), (9, 3, [1, 2, 3]), (9, 1, [1])],
)
def test_a_parcel_is_tried_until_it_is_taken_or_given_up(refuse: int, tries: int, numbers: list[int]) -> None:
    assert carried(["a", "b"], refuse, tries) == [(each, n) for each in "ab" for n in numbers]


def test_waiting_for_a_retry_holds_no_thread() -> None:
    done = threading.Event()

    def attempt(parcel: str, number: int) -> bool:
        if parcel == "last":
            done.set()
        return parcel == "last" or number > 1

    queue = DeliveryQueue(attempt, threads=1, tries=2, retry_seconds=60)
    for parcel in ("first", "second", "last"):
        queue.put(parcel)
    assert done.wait(5)
    assert queue.open == 2
    queue.close()
