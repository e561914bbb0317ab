"""A company's requests are counted in one window, in Redis or, without Redis, in each process."""

from __future__ import annotations

import time

import fakeredis
import pytest
from limits import RateLimitItemPerSecond
from limits.storage import RedisStorage
from limits.strategies import MovingWindowRateLimiter

from shared.connection.budget import Budget
from shared.errors import BudgetExhausted


@pytest.fixture
def server() -> fakeredis.FakeServer:
    return fakeredis.FakeServer()


@pytest.fixture
def budget(server: fakeredis.FakeServer) -> Budget:
    return _budget(server)


def _budget(server: fakeredis.FakeServer, *, per_minute: int = 12, reserve: int = 2) -> Budget:
    return Budget(fakeredis.FakeRedis(server=server), default_per_minute=per_minute, reserve=reserve)


def _taken(budget: Budget, company_id: str = "cmp_1", *, most: int = 1_000) -> int:
    """Return how many requests the budget lets through now."""
    for taken in range(most):
        try:
            budget.take(company_id)
        except BudgetExhausted:
            return taken
    return most


def _spare(budget: Budget, reserved_share: float = 0.5) -> int:
    """Return how many requests pass that leave this share to others."""
    for taken in range(1_000):
        try:
            budget.take("cmp_1", reserved_share=reserved_share)
        except BudgetExhausted:
            return taken
    return 1_000


@pytest.mark.parametrize(
    ("taken_before", "reserved_share", "spare"),
    [
        (0, 0.5, 5),  # half of the ten
        (3, 0.5, 2),
        (5, 0.5, 0),
        (9, 0.5, 0),
        (0, 0.0, 10),  # nothing is reserved
        (0, 1.0, 1),  # no other request was counted, so one may pass
    ],
)
def test_a_request_that_leaves_a_share_takes_only_the_rest(
    budget: Budget, taken_before: int, reserved_share: float, spare: int
) -> None:
    _taken(budget, most=taken_before)
    assert _spare(budget, reserved_share) == spare


def test_others_get_the_whole_reserved_share(budget: Budget) -> None:
    assert [_spare(budget), _taken(budget)] == [5, 5]


def test_a_request_that_leaves_a_share_learns_when_to_retry(budget: Budget) -> None:
    _spare(budget)
    with pytest.raises(BudgetExhausted) as exhausted:
        budget.take("cmp_1", reserved_share=0.5)
    assert 55 < exhausted.value.retry_after <= 60


@pytest.mark.parametrize(
    ("remaining", "reset_in", "spare"),
    [
        (7, 20, 5),  # more than half of the twelve is left at Front
        (6, 20, 0),  # calls of other programs count, too
        (6, -1, 5),  # that window is over
    ],
)
def test_fronts_own_count_decides_how_many_may_pass(
    budget: Budget, remaining: int, reset_in: float, spare: int
) -> None:
    budget.learn("cmp_1", limit=12, remaining=remaining, reset_at=time.time() + reset_in)
    assert _spare(budget) == spare


def test_an_ordinary_call_passes_while_front_has_any_left(budget: Budget) -> None:
    budget.learn("cmp_1", limit=12, remaining=1, reset_at=time.time() + 20)
    assert _taken(budget) == 10


def test_without_redis_a_share_is_left_of_the_local_budget(server: fakeredis.FakeServer) -> None:
    server.connected = False
    assert _spare(_budget(server, per_minute=42)) == 5


def test_the_limit_minus_the_reserve_is_let_through(budget: Budget) -> None:
    assert _taken(budget) == 10


def test_two_workers_share_one_window(server: fakeredis.FakeServer) -> None:
    assert [_taken(_budget(server), most=7), _taken(_budget(server))] == [7, 3]


def test_companies_do_not_share(budget: Budget) -> None:
    _taken(budget, "cmp_1")
    assert _taken(budget, "cmp_2") == 10


def test_an_exhausted_window_says_when_to_retry(budget: Budget) -> None:
    _taken(budget)
    with pytest.raises(BudgetExhausted) as exhausted:
        budget.take("cmp_1")
    assert 55 < exhausted.value.retry_after <= 60


def test_fronts_limit_beats_ours_for_every_worker(server: fakeredis.FakeServer) -> None:
    _budget(server).learn("cmp_1", limit=52, remaining=51, reset_at=None)
    assert _taken(_budget(server)) == 50


def test_fronts_limit_going_down_counts_too(server: fakeredis.FakeServer) -> None:
    _budget(server).learn("cmp_1", limit=5, remaining=4, reset_at=None)
    assert _taken(_budget(server)) == 3


def test_a_limit_below_the_reserve_still_lets_one_through(budget: Budget) -> None:
    budget.learn("cmp_1", limit=1, remaining=1, reset_at=None)
    assert _taken(budget) == 1


@pytest.mark.parametrize("limit", [None, 0, -3])
def test_an_unusable_limit_is_not_learned(budget: Budget, limit: int | None) -> None:
    budget.learn("cmp_1", limit=limit, remaining=None if limit is None else 0, reset_at=time.time() + 20)
    assert _taken(budget) == 10


def test_nothing_remaining_pauses_every_worker_until_the_reset(server: fakeredis.FakeServer) -> None:
    _budget(server).learn("cmp_1", limit=12, remaining=0, reset_at=time.time() + 20)
    with pytest.raises(BudgetExhausted) as exhausted:
        _budget(server).take("cmp_1")
    assert 18 < exhausted.value.retry_after <= 20


@pytest.mark.parametrize(
    ("reset_in", "longest"),
    [
        (-30, 0),  # the reset is behind us
        (86_400, 120),  # a clock that is a day off must not stop calls for a day
    ],
)
def test_a_strange_reset_is_not_believed(budget: Budget, reset_in: float, longest: float) -> None:
    budget.learn("cmp_1", limit=12, remaining=0, reset_at=time.time() + reset_in)
    assert _wait(budget) <= longest


def test_a_shorter_pause_does_not_end_a_longer_one(server: fakeredis.FakeServer) -> None:
    _budget(server).pause("cmp_1", 30)
    _budget(server).pause("cmp_1", 1)
    assert _wait(_budget(server)) > 28


def test_a_longer_pause_extends_a_shorter_one(server: fakeredis.FakeServer) -> None:
    _budget(server).pause("cmp_1", 1)
    _budget(server).pause("cmp_1", 30)
    assert _wait(_budget(server)) > 28


def test_a_pause_is_an_hour_at_most(server: fakeredis.FakeServer) -> None:
    _budget(server).pause("cmp_1", 10**9)
    assert 3_590 < _wait(_budget(server)) <= 3_600


def test_another_company_is_not_paused(budget: Budget) -> None:
    budget.pause("cmp_1", 30)
    assert _taken(budget, "cmp_2") == 10


def test_without_redis_a_worker_keeps_to_a_quarter(server: fakeredis.FakeServer) -> None:
    server.connected = False
    assert _taken(_budget(server, per_minute=42)) == 10


def test_without_redis_the_last_known_limit_counts(server: fakeredis.FakeServer) -> None:
    budget = _budget(server)
    budget.learn("cmp_1", limit=82, remaining=81, reset_at=None)
    server.connected = False
    assert _taken(budget) == 20


def test_a_pause_holds_without_redis(server: fakeredis.FakeServer, budget: Budget) -> None:
    server.connected = False
    budget.pause("cmp_1", 30)
    assert _wait(budget) > 28


def test_everything_kept_in_redis_expires(server: fakeredis.FakeServer, budget: Budget) -> None:
    budget.take("cmp_1")
    budget.learn("cmp_1", limit=52, remaining=0, reset_at=time.time() + 20)
    redis = fakeredis.FakeRedis(server=server)
    keys = {key.decode(): redis.ttl(key) for key in redis.scan_iter()}
    assert len(keys) == 3
    assert all(name.startswith("mailroom:front:") and ttl > 0 for name, ttl in keys.items())


def _wait(budget: Budget) -> float:
    try:
        budget.take("cmp_1")
    except BudgetExhausted as exc:
        return exc.retry_after
    return 0.0


def test_requests_counted_by_the_limits_library_count_here(server: fakeredis.FakeServer) -> None:
    redis = fakeredis.FakeRedis(server=server)
    budget = _budget(server)
    storage = RedisStorage("redis://", connection_pool=redis.connection_pool, key_prefix="mailroom:front:window")
    older_release = MovingWindowRateLimiter(storage)
    assert all(older_release.hit(RateLimitItemPerSecond(10, 60), "cmp_1") for _ in range(4))
    assert _taken(budget) == 6
    assert not older_release.hit(RateLimitItemPerSecond(10, 60), "cmp_1")


def test_a_shorter_window_is_free_again_sooner(server: fakeredis.FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.connection.budget.WINDOW_SECONDS", 1)
    budget = _budget(server)
    assert _taken(budget) == 10
    assert 0 < _wait(budget) <= 1
    time.sleep(1.1)
    assert _taken(budget) == 10
