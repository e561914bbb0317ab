"""A company's requests are counted in one window, in Redis or, without Redis, in each process."""

from __future__ import annotations

import time

import fakeredis
import pytest

from shared.connection.budget import Budget, Reservation, Usage
from shared.errors import BudgetExhausted


@pytest.fixture
def server() -> fakeredis.FakeServer:
    return fakeredis.FakeServer()


@pytest.fixture
def budget(server: fakeredis.FakeServer) -> Budget:
    return _budget(server)


def _budget(server: fakeredis.FakeServer, *, per_minute: int = 10) -> Budget:
    return Budget(fakeredis.FakeRedis(server=server), default_per_minute=per_minute)


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
        (6, 20, 5),  # more than half of the ten is left at Front
        (5, 20, 0),  # calls of other programs count, too
        (5, -1, 5),  # that window is over
    ],
)
def test_fronts_own_count_decides_how_many_may_pass(
    budget: Budget, remaining: int, reset_in: float, spare: int
) -> None:
    budget.learn("cmp_1", limit=10, remaining=remaining, reset_at=time.time() + reset_in)
    assert _spare(budget) == spare


def test_an_ordinary_call_passes_while_front_has_any_left(budget: Budget) -> None:
    budget.learn("cmp_1", limit=10, remaining=1, reset_at=time.time() + 20)
    assert _taken(budget) == 10


def test_without_redis_a_share_is_left_of_the_local_budget(server: fakeredis.FakeServer) -> None:
    server.connected = False
    assert _spare(_budget(server, per_minute=40)) == 5


def test_the_whole_limit_is_let_through(budget: Budget) -> None:
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
    _budget(server).learn("cmp_1", limit=50, remaining=49, reset_at=None)
    assert _taken(_budget(server)) == 50


def test_fronts_limit_going_down_counts_too(server: fakeredis.FakeServer) -> None:
    _budget(server).learn("cmp_1", limit=5, remaining=4, reset_at=None)
    assert _taken(_budget(server)) == 5


def test_a_limit_of_one_lets_one_through(budget: Budget) -> None:
    budget.learn("cmp_1", limit=1, remaining=1, reset_at=None)
    assert _taken(budget) == 1


@pytest.mark.parametrize("limit", [None, 0, -3])
def test_an_unusable_limit_is_not_learned(budget: Budget, limit: int | None) -> None:
    budget.learn("cmp_1", limit=limit, remaining=None if limit is None else 0, reset_at=time.time() + 20)
    assert _taken(budget) == 10


def test_nothing_remaining_pauses_every_worker_until_the_reset(server: fakeredis.FakeServer) -> None:
    _budget(server).learn("cmp_1", limit=10, remaining=0, reset_at=time.time() + 20)
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
    budget.learn("cmp_1", limit=10, remaining=0, reset_at=time.time() + reset_in)
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
    assert _taken(_budget(server, per_minute=40)) == 10


def test_without_redis_the_last_known_limit_counts(server: fakeredis.FakeServer) -> None:
    budget = _budget(server)
    budget.learn("cmp_1", limit=80, remaining=79, reset_at=None)
    server.connected = False
    assert _taken(budget) == 20


def test_a_pause_holds_without_redis(server: fakeredis.FakeServer, budget: Budget) -> None:
    server.connected = False
    budget.pause("cmp_1", 30)
    assert _wait(budget) > 28


def test_everything_kept_in_redis_expires(server: fakeredis.FakeServer, budget: Budget) -> None:
    budget.reserve("cmp_1", backlog(), 3)
    budget.learn("cmp_1", limit=52, remaining=0, reset_at=time.time() + 20)
    redis = fakeredis.FakeRedis(server=server)
    budget.note_wasted("cmp_1", 1)
    keys = {key.decode(): redis.ttl(key) for key in redis.scan_iter()}
    assert len(keys) == 5
    assert all(name.startswith("mailroom:front:") and ttl > 0 for name, ttl in keys.items())


def _wait(budget: Budget) -> float:
    try:
        budget.take("cmp_1")
    except BudgetExhausted as exc:
        return exc.retry_after
    return 0.0


def test_a_shorter_window_is_free_again_sooner(server: fakeredis.FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.connection.budget.WINDOW_SECONDS", 1)
    budget = _budget(server)
    assert _taken(budget) == 10
    assert 0 < _wait(budget) <= 1
    time.sleep(1.1)
    assert _taken(budget) == 10


def backlog() -> Reservation:
    return Reservation(is_live=False)


def _reserved(budget: Budget, calls: int, *, is_live: bool, most: int = 100) -> int:
    """Return how many attempts reserve so many calls now."""
    for reserved in range(most):
        try:
            budget.reserve("cmp_1", Reservation(is_live=is_live), calls)
        except BudgetExhausted:
            return reserved
    return most


@pytest.mark.parametrize(("limit", "attempts"), [(10, 3), (9, 3), (8, 2), (3, 1)])
def test_an_attempt_reserves_all_its_calls_or_none(server: fakeredis.FakeServer, limit: int, attempts: int) -> None:
    budget = _budget(server, per_minute=limit)
    assert _reserved(budget, 3, is_live=True) == attempts
    assert _taken(budget) == limit - 3 * attempts


def test_reserved_calls_are_used_without_counting_again(budget: Budget) -> None:
    reservation = Reservation()
    budget.reserve("cmp_1", reservation, 3)
    for _ in range(3):
        budget.use("cmp_1", reservation)
    assert _taken(budget) == 7


def test_a_call_beyond_the_reserved_ones_is_counted(budget: Budget) -> None:
    reservation = Reservation()
    budget.reserve("cmp_1", reservation, 1)
    budget.use("cmp_1", reservation)
    budget.use("cmp_1", reservation)
    assert _taken(budget) == 8


def test_a_reservation_is_filled_up_only(budget: Budget) -> None:
    reservation = Reservation()
    budget.reserve("cmp_1", reservation, 3)
    budget.reserve("cmp_1", reservation, 2)
    budget.reserve("cmp_1", reservation, 4)
    assert _taken(budget) == 6


def test_unused_calls_are_given_back_at_once(budget: Budget) -> None:
    reservation = Reservation()
    budget.reserve("cmp_1", reservation, 10)
    budget.use("cmp_1", reservation)
    budget.release("cmp_1", reservation)
    budget.release("cmp_1", reservation)
    assert _taken(budget) == 9


def test_a_limit_below_an_attempt_does_not_stop_it_for_ever(server: fakeredis.FakeServer) -> None:
    budget = _budget(server, per_minute=2)
    budget.reserve("cmp_1", reservation := Reservation(), 3)
    assert len(reservation.calls) == 2


def test_a_backlog_leaves_a_call_to_live_work(server: fakeredis.FakeServer) -> None:
    budget = _budget(server, per_minute=4)
    assert [_reserved(budget, 4, is_live=False), _reserved(budget, 1, is_live=True)] == [1, 1]


def test_a_backlog_begins_with_a_quarter_and_goes_on_at_an_even_pace(server: fakeredis.FakeServer) -> None:
    budget = _budget(server, per_minute=120)
    assert _reserved(budget, 3, is_live=False) == 9
    with pytest.raises(BudgetExhausted) as exhausted:
        budget.reserve("cmp_1", backlog(), 3)
    assert 10 < exhausted.value.retry_after < 14  # until those 27 calls are no longer ahead of the pace
    assert _taken(budget) == 93


def test_who_uses_up_the_pace_learns_how_long_to_rest(server: fakeredis.FakeServer) -> None:
    budget = _budget(server, per_minute=120)
    _taken(budget, most=40)
    rests: list[float] = []
    while not rests or not rests[-1]:
        rests.append(budget.reserve("cmp_1", backlog(), 3))
    assert 0 < rests[-1] < 3
    with pytest.raises(BudgetExhausted):
        budget.reserve("cmp_1", backlog(), 3)


def test_a_backlog_that_made_no_calls_gets_its_pace_back(server: fakeredis.FakeServer) -> None:
    budget = _budget(server, per_minute=120)
    _taken(budget, most=60)
    for _ in range(20):
        budget.reserve("cmp_1", reservation := backlog(), 3)
        budget.release("cmp_1", reservation)
    assert _taken(budget) == 60


def test_a_backlog_uses_a_whole_window(server: fakeredis.FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.connection.budget.WINDOW_SECONDS", 2)
    budget = _budget(server, per_minute=120)
    ends, reserved = time.monotonic() + 4, 0
    while time.monotonic() < ends:
        reserved += _reserved(budget, 3, is_live=False)
        time.sleep(0.005)
    assert 60 < reserved <= 80  # 78 on a quiet machine


def test_a_call_that_leaves_late_is_counted_anew(server: fakeredis.FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.connection.budget.WINDOW_SECONDS", 1)
    monkeypatch.setattr("shared.connection.budget.LATE_SECONDS", 0.0)
    budget = _budget(server)
    budget.reserve("cmp_1", reservation := Reservation(), 2)
    time.sleep(0.6)
    budget.use("cmp_1", reservation)
    time.sleep(0.6)
    assert _taken(budget) == 9
    time.sleep(1.1)
    budget.use("cmp_1", reservation)  # it has left the window, and is one more
    assert _taken(budget) == 9


def test_without_redis_an_attempt_reserves_all_its_calls_too(server: fakeredis.FakeServer) -> None:
    server.connected = False
    budget = _budget(server, per_minute=40)
    budget.reserve("cmp_1", reservation := backlog(), 3)
    budget.use("cmp_1", reservation)
    budget.release("cmp_1", reservation)
    assert _taken(budget) == 7


def test_the_last_minutes_calls_are_counted(
    server: fakeredis.FakeServer, budget: Budget, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget.learn("cmp_1", limit=9, remaining=None, reset_at=None)
    budget.reserve("cmp_1", reservation := Reservation(), 5)
    budget.use("cmp_1", reservation)
    budget.use("cmp_1", reservation)
    budget.release("cmp_1", reservation)
    budget.note_wasted("cmp_1", 2)
    now = time.time()
    monkeypatch.setattr("shared.connection.budget.time.time", lambda: now + 60)
    assert budget.usage(["cmp_1", "cmp_2"]) == {
        "cmp_1": Usage(limit=9, used=2, wasted=2),
        "cmp_2": Usage(limit=10, used=0, wasted=0),
    }
    server.connected = False
    assert budget.usage(["cmp_1"]) == {}


def test_a_company_is_forgotten_whole(server: fakeredis.FakeServer, budget: Budget) -> None:
    budget.learn("cmp_1", limit=100, remaining=0, reset_at=time.time() + 20)
    other = _budget(server)
    other.take("cmp_2")
    budget.pause("cmp_1", 1)
    budget.note_wasted("cmp_1", 2)
    budget.forget("cmp_1")
    left = [key.decode() for key in fakeredis.FakeRedis(server=server).scan_iter()]
    assert left
    assert all("cmp_2" in key for key in left)
