"""A tenant's requests take turns; another tenant's do not wait for them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from console.tenant_concurrency import Crowded, Turns

ACME, OTHER = 1, 2


def take(turns: Turns, tenant: int) -> None:
    with turns.of(tenant):
        pass


def test_of_one_tenant_one_has_its_turn_and_of_another_one_too() -> None:
    turns = Turns(most=2, seconds=0.01)
    with turns.of(ACME):
        take(turns, OTHER)
        with pytest.raises(Crowded, match="for too long"):
            take(turns, ACME)
    take(turns, ACME)


def test_who_comes_to_a_full_queue_is_sent_away_at_once() -> None:
    turns = Turns(most=1, seconds=600)
    with turns.of(ACME), pytest.raises(Crowded, match="1 requests"):
        take(turns, ACME)


def test_all_who_wait_get_their_turn_alone() -> None:
    turns, together, most = Turns(most=8, seconds=60), 0, 0

    def work(_: int) -> None:
        nonlocal together, most
        with turns.of(ACME):
            together += 1
            most = max(most, together)
            together -= 1

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
    assert most == 1


def test_an_error_ends_the_turn() -> None:
    turns = Turns(most=1, seconds=0.01)
    with pytest.raises(KeyError), turns.of(ACME):
        raise KeyError
    take(turns, ACME)
