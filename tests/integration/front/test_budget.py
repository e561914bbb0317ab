"""Threads and processes of all workers share one rate limit window in Redis, also when Redis hangs or is full."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import redis

from console.up.embedded import Valkey
from shared.connection.budget import Budget
from shared.errors import BudgetExhausted
from tests.integration.front.peers import Peer, silence

TAKES = """
import sys
from shared.connection.budget import Budget
from shared.errors import BudgetExhausted
budget = Budget.from_url(sys.argv[1], default_per_minute=100)
taken = 0
for _ in range(80):
    try:
        budget.take("cmp_1")
    except BudgetExhausted:
        break
    taken += 1
print(taken)
"""


def _taken(budget: Budget, *, most: int = 200) -> int:
    for taken in range(most):
        try:
            budget.take("cmp_1")
        except BudgetExhausted:
            return taken
    return most


def test_threads_and_processes_share_one_window(redis_db: str) -> None:
    others = [
        subprocess.Popen([sys.executable, "-c", TAKES, redis_db], stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    budget, counts = Budget.from_url(redis_db, default_per_minute=100), list[int]()
    threads = [threading.Thread(target=lambda: counts.append(_taken(budget))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts += [int(other.communicate(timeout=20)[0]) for other in others]
    assert sum(counts) == 100


def test_a_call_costs_one_round_trip(redis_db: str) -> None:
    with CountingConnection.client(redis_db) as client:
        budget = Budget(client)
        budget.take("cmp_1")  # the first call loads the window's script
        before = CountingConnection.trips
        budget.take("cmp_1")
        budget.learn("cmp_1", limit=120, remaining=9, reset_at=time.time() + 20)
        assert CountingConnection.trips - before == 1


class CountingConnection(redis.Connection):
    """A connection that counts its writes."""

    trips = 0

    @classmethod
    def client(cls, url: str) -> redis.Redis:
        """Return a client with connections of this class."""
        return redis.Redis(connection_pool=redis.ConnectionPool.from_url(url, connection_class=cls))

    def send_packed_command(self, command: object, check_health: bool = True) -> None:
        """Send a command and count it."""
        type(self).trips += 1
        super().send_packed_command(command, check_health)


def test_a_redis_that_hangs_costs_half_a_second_once(peer: Callable[..., Peer]) -> None:
    budget = Budget.from_url(f"redis://127.0.0.1:{peer(silence, reads_first=False).port}")
    seconds = list(_timed(budget, calls=20))
    assert seconds[0] < 1.2
    assert max(seconds[1:]) < 0.1


def test_a_redis_that_hangs_leaves_a_quarter_of_the_limit(peer: Callable[..., Peer]) -> None:
    url = f"redis://127.0.0.1:{peer(silence, reads_first=False).port}"
    assert _taken(Budget.from_url(url, default_per_minute=40)) == 10


def test_a_killed_redis_is_used_again_when_it_is_back(own_valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.connection.budget._BREAKER_SECONDS", 0.2)
    budget = Budget.from_url(own_valkey.url)
    budget.take("cmp_1")
    own_valkey.kill()
    budget.take("cmp_1")
    own_valkey.start()
    time.sleep(0.3)
    budget.pause("cmp_1", 30)
    with redis.Redis.from_url(own_valkey.url) as client:
        assert client.exists("mailroom:front:pause:cmp_1")


def test_a_full_redis_counts_all_the_same(own_valkey: Valkey) -> None:
    with redis.Redis.from_url(own_valkey.url) as client:
        client.config_set("maxmemory", "1")
    assert _taken(Budget.from_url(own_valkey.url, default_per_minute=40)) == 40


def _timed(budget: Budget, *, calls: int) -> Iterator[float]:
    for _ in range(calls):
        started = time.monotonic()
        budget.take("cmp_1")
        yield time.monotonic() - started
