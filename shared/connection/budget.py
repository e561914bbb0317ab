"""Front's rate limit for each company, counted by all processes together."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Self, TypeVar
from uuid import uuid4

from limits import RateLimitItem, RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from redis import Redis, RedisError

from shared.errors import BudgetExhausted, StoreUnavailable
from shared.redis_clients import brief_redis_client

_KEY_PREFIX = "mailroom:front"
_LIMIT_TTL_SECONDS = 86_400
#: Front counts by the minute. Benchmarks set less, with a small Front that does the same.
WINDOW_SECONDS = 60
#: The calls of a window that a backlog leaves to live work. Live work needs one call at a time and a backlog several,
#: so live work takes the next call that becomes free.
LIVE_CALLS = 1
#: A reserved call that leaves later than this is counted anew, so that our window ends no earlier than Front's.
LATE_SECONDS = 1.0
_BREAKER_SECONDS = 5.0
#: One header may stop a company for a window or two, but not for as long as a wrong clock says.
_MAX_RESET_SECONDS = 120.0
_MAX_PAUSE_SECONDS = 3600.0
_SCAN_COUNT = 1_000
#: Calls are added up by the minute, whatever the window.
_COUNTED_SECONDS = 60
_COUNTS_TTL_SECONDS = 3_600
_REPORT_SECONDS = 600
#: Counts all the wanted calls or none. The window is a sorted set with an entry for each call, by Redis' own clock.
#:
#: A backlog takes calls as evenly as the limit gives them. So a call becomes free all the time, also for live work.
#: `ahead` says by how many milliseconds it is ahead of that pace. It may be ahead by a twentieth of a window, which
#: makes up for late starts. It may be ahead by more while at most a quarter of the window's calls is used.
#:
#: Returns the calls counted, the milliseconds until as many may be counted again, and the limit.
_RESERVE = """
local paused = redis.call('pttl', KEYS[1])
if paused > 0 then return {0, paused, 0} end
local paced, window = ARGV[5] == '1', tonumber(ARGV[6])
local time = redis.call('time')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local limit = tonumber(redis.call('get', KEYS[2]) or ARGV[1])
local most = math.max(1, limit - math.max(tonumber(ARGV[3]), math.ceil(limit * tonumber(ARGV[4]))))
local wanted = math.min(tonumber(ARGV[2]), most)
redis.call('zremrangebyscore', KEYS[3], '-inf', now - window)
local counted = redis.call('zcard', KEYS[3])
local pace, ahead, may_be_ahead = window / (limit * 0.99), 0, window / 20
if paced then ahead = math.max(0, tonumber(redis.call('get', KEYS[4]) or now) - now) end
if counted + wanted <= most / 4 then may_be_ahead = window end
local function wait()
    local until_free, too_many = 0, counted + wanted - most
    if too_many > 0 then
        local last = redis.call('zrange', KEYS[3], too_many - 1, too_many - 1, 'withscores')
        until_free = tonumber(last[2]) + window - now + 1
    end
    if ahead >= may_be_ahead then
        until_free = math.max(until_free, ahead - may_be_ahead + math.max(pace * wanted, window / 60))
    end
    return math.ceil(until_free)
end
if counted + wanted > most or ahead >= may_be_ahead then return {0, wait(), limit} end
for n = 1, wanted do redis.call('zadd', KEYS[3], now, ARGV[7] .. n) end
redis.call('pexpire', KEYS[3], window)
redis.call('hincrby', KEYS[5], 'used', wanted)
redis.call('expire', KEYS[5], ARGV[8])
counted = counted + wanted
if paced then
    ahead = ahead + pace * wanted
    redis.call('set', KEYS[4], math.ceil(now + ahead), 'px', window)
end
return {wanted, wait(), limit}
"""
#: Counts a call anew that was reserved earlier. Returns 0 if it has left the window meanwhile.
_COUNT_ANEW = """
if not redis.call('zscore', KEYS[1], ARGV[1]) then return 0 end
local time = redis.call('time')
redis.call('zadd', KEYS[1], time[1] * 1000 + math.floor(time[2] / 1000), ARGV[1])
redis.call('pexpire', KEYS[1], ARGV[2])
return 1
"""
#: Gives calls back that were reserved and not made. A backlog's pace gets them back, too.
_RELEASE = """
local given_back = redis.call('zrem', KEYS[3], unpack(ARGV, 4))
redis.call('hincrby', KEYS[5], 'used', -given_back)
redis.call('expire', KEYS[5], ARGV[3])
if redis.call('exists', KEYS[4]) == 1 then
    local limit = tonumber(redis.call('get', KEYS[2]) or ARGV[1])
    redis.call('decrby', KEYS[4], math.floor(given_back * ARGV[2] / limit))
end
"""

T = TypeVar("T")


@dataclass(kw_only=True)
class Reservation:
    """The calls that one attempt or command has reserved and not made yet. One thread uses it.

    `is_live`: for work that a backlog must not hold up. `reserved_share`: the share of the limit that stays free for
    others, by our count and by Front's last answer.
    """

    is_live: bool = True
    reserved_share: float = 0.0
    calls: list[str] = field(default_factory=list)
    counted_at: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Usage:
    """A company's calls in the last whole minute. `wasted`: those of attempts that came to nothing."""

    limit: int
    used: int
    wasted: int


@dataclass(kw_only=True)
class _Company:
    """The state of one company as this process knows it, while Redis is away."""

    limit: int
    paused_until: float = 0.0
    remaining: int | None = None  # by Front's last answer, in the window that ends at `reset_at`
    reset_at: float = 0.0


class Budget:
    """Counts requests to Front in a window of a minute for each company. Threads may share it.

    Front's headers win over our count. While Redis is away, each process keeps to a quarter of the limit by its own
    count. So a failure of Redis raises nothing here, except in `forget`.
    """

    def __init__(self, redis: Redis, *, default_per_minute: int = 120):
        self._redis = redis
        self._default = default_per_minute
        self._companies: dict[str, _Company] = {}
        self._redis_away_until = 0.0
        self._reserve = redis.register_script(_RESERVE)
        self._count_anew = redis.register_script(_COUNT_ANEW)
        self._release = redis.register_script(_RELEASE)
        self._local_window = MovingWindowRateLimiter(MemoryStorage())

    @classmethod
    def from_url(cls, url: str, *, default_per_minute: int = 120) -> Self:
        """Return a budget with connections of its own, which wait half a second for Redis."""
        return cls(brief_redis_client(url), default_per_minute=default_per_minute)

    def reserve(self, company_id: str, reservation: Reservation, calls: int) -> float:
        """Fill the reservation up to so many calls, all or none; fewer only where the limit itself is lower.

        Returns the seconds until the same may be reserved again, 0 for at once. Raises BudgetExhausted with the seconds
        to wait, and then counts nothing.
        """
        wanted = calls - len(reservation.calls)
        if wanted <= 0:
            return 0.0
        company = self._company(company_id)
        wait = max(company.paused_until - time.monotonic(), _wait_for_others(company, reservation.reserved_share))
        if wait > 0:
            raise _exhausted(wait)
        again = self._with_redis(lambda: self._reserve_shared(company_id, company, reservation, wanted))
        return self._reserve_locally(company_id, company, reservation, wanted) if again is None else again

    def use(self, company_id: str, reservation: Reservation) -> None:
        """Count the next call: one that is reserved, or one more. Raises BudgetExhausted if there is none.

        A further call of an attempt that has begun goes before the backlog: without it the others were made in vain.
        """
        if reservation.calls:
            call = reservation.calls.pop()
            if time.monotonic() - reservation.counted_at < LATE_SECONDS:
                return
            if self._with_redis(lambda: self._count_anew([_key("calls", company_id)], [call, WINDOW_SECONDS * 1000])):
                return
        self.take(company_id, reserved_share=reservation.reserved_share)

    def take(self, company_id: str, *, reserved_share: float = 0.0) -> None:
        """Count one call that was not reserved before. Raises BudgetExhausted and then counts nothing."""
        self.reserve(company_id, Reservation(reserved_share=reserved_share), 1)

    def release(self, company_id: str, reservation: Reservation) -> None:
        """Give back the calls that were not made."""
        unused, reservation.calls = reservation.calls, []
        if unused:
            values: list[str | int] = [self._default, WINDOW_SECONDS * 1000, _COUNTS_TTL_SECONDS, *unused]
            self._with_redis(lambda: self._release(_keys(company_id), values))

    def note_wasted(self, company_id: str, calls: int) -> None:
        """Note that so many calls were made in vain."""
        self._with_redis(lambda: self._add_wasted(_counts_key(company_id, time.time()), calls))

    def usage(self, company_ids: Collection[str]) -> dict[str, Usage]:
        """Return the usage of each company in the last whole minute; of none while Redis is away."""
        return self._with_redis(lambda: self._read_usage(list(company_ids))) or {}

    def is_first_report(self, company_id: str) -> bool:
        """Whether nobody has reported in ten minutes that the company is at its limit. Then the caller reports it."""
        key = _key("reported", company_id)
        return bool(self._with_redis(lambda: self._redis.set(key, 1, ex=_REPORT_SECONDS, nx=True)))

    def learn(self, company_id: str, *, limit: int | None, remaining: int | None, reset_at: float | None) -> None:
        """Take over Front's headers: a new limit counts from now on, and an exhausted one pauses until its reset."""
        if limit is not None and limit <= 0:
            return  # such a header says nothing about the limit
        company = self._company(company_id)
        if limit is not None and limit != company.limit:
            company.limit = limit
            self._with_redis(lambda: self._redis.set(_key("limit", company_id), limit, ex=_LIMIT_TTL_SECONDS))
        if remaining is not None and reset_at is not None:
            company.remaining, company.reset_at = remaining, min(reset_at, time.time() + _MAX_RESET_SECONDS)
        if remaining is not None and remaining <= 0 and reset_at is not None:
            self.pause(company_id, min(reset_at - time.time(), _MAX_RESET_SECONDS))

    def pause(self, company_id: str, seconds: float) -> None:
        """Let no process send a request for this company for so many seconds. A longer pause stays as it is."""
        seconds = min(seconds, _MAX_PAUSE_SECONDS)
        if seconds <= 0:
            return
        company = self._company(company_id)
        company.paused_until = max(company.paused_until, time.monotonic() + seconds)
        self._with_redis(lambda: self._pause_shared(_key("pause", company_id), int(seconds * 1000)))

    def forget(self, company_id: str) -> None:
        """Delete the company's keys from Redis. Raises StoreUnavailable."""
        try:
            keys = [*_keys(company_id), _key("reported", company_id)]
            keys += self._redis.scan_iter(match=f"{_key('counts', company_id)}:*", count=_SCAN_COUNT)
            self._redis.delete(*keys)
        except RedisError as exc:
            raise StoreUnavailable(f"Redis did not do its part ({exc}); check REDIS_URL and the server") from exc
        self._companies.pop(company_id, None)

    def _reserve_shared(self, company_id: str, company: _Company, reservation: Reservation, wanted: int) -> float:
        id_prefix = f"{uuid4().hex}:"
        counted, wait_ms, limit = self._reserve(
            _keys(company_id),
            [
                self._default,
                wanted,
                0 if reservation.is_live else LIVE_CALLS,
                reservation.reserved_share,
                int(not reservation.is_live),
                WINDOW_SECONDS * 1000,
                id_prefix,
                _COUNTS_TTL_SECONDS,
            ],
        )
        company.limit = int(limit) or company.limit
        if not counted:
            raise _exhausted(wait_ms / 1000)
        reservation.calls += [f"{id_prefix}{number}" for number in range(1, counted + 1)]
        reservation.counted_at = time.monotonic()
        return float(wait_ms) / 1000

    def _reserve_locally(self, company_id: str, company: _Company, reservation: Reservation, wanted: int) -> float:
        per_window = max(1, company.limit // 4)
        wanted = min(wanted, per_window)
        if wait := _take_from(self._local_window, per_window, company_id, wanted, reservation.reserved_share):
            raise _exhausted(wait)
        reservation.calls += [""] * wanted
        reservation.counted_at = time.monotonic()
        return 0.0

    def _add_wasted(self, key: str, calls: int) -> None:
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.hincrby(key, "wasted", calls)
            pipe.expire(key, _COUNTS_TTL_SECONDS)
            pipe.execute()

    def _read_usage(self, company_ids: list[str]) -> dict[str, Usage]:
        minute_ago = time.time() - _COUNTED_SECONDS
        with self._redis.pipeline(transaction=False) as pipe:
            for company_id in company_ids:
                pipe.get(_key("limit", company_id))
                pipe.hmget(_counts_key(company_id, minute_ago), ["used", "wasted"])
            answers = pipe.execute()
        return {
            company_id: Usage(limit=int(limit or self._default), used=int(used or 0), wasted=int(wasted or 0))
            for company_id, limit, (used, wasted) in zip(company_ids, answers[::2], answers[1::2], strict=True)
        }

    def _pause_shared(self, key: str, milliseconds: int) -> None:
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.set(key, 1, px=max(milliseconds, 1), nx=True)
            pipe.pexpire(key, max(milliseconds, 1), gt=True)
            pipe.execute()

    def _with_redis(self, step: Callable[[], T]) -> T | None:
        """Return the step's result, None while Redis is away. After a failure, skip Redis for some seconds."""
        if time.monotonic() < self._redis_away_until:
            return None
        try:
            return step()
        except RedisError:
            self._redis_away_until = time.monotonic() + _BREAKER_SECONDS
            return None

    def _company(self, company_id: str) -> _Company:
        return self._companies.setdefault(company_id, _Company(limit=self._default))


def _key(kind: str, company_id: str) -> str:
    return f"{_KEY_PREFIX}:{kind}:{company_id}"


def _counts_key(company_id: str, at: float) -> str:
    return f"{_key('counts', company_id)}:{int(at // _COUNTED_SECONDS)}"


def _keys(company_id: str) -> list[str]:
    """Return the keys of the scripts, in their order."""
    kinds = ("pause", "limit", "calls", "pace")
    return [*(_key(kind, company_id) for kind in kinds), _counts_key(company_id, time.time())]


def _exhausted(wait: float) -> BudgetExhausted:
    return BudgetExhausted(f"Front's rate limit is used up for {wait:.1f} s", retry_after=wait)


def _wait_for_others(company: _Company, reserved_share: float) -> float:
    """Return the seconds until Front's window ends when all that remains in it is reserved for others, else 0."""
    if not reserved_share or company.remaining is None or company.remaining > company.limit * reserved_share:
        return 0.0
    return company.reset_at - time.time()


def _take_from(
    window: MovingWindowRateLimiter, per_window: int, company_id: str, calls: int, reserved_share: float
) -> float:
    """Count the calls in the window and return 0, or count nothing and return the seconds until there is room."""
    item: RateLimitItem = RateLimitItemPerSecond(per_window, WINDOW_SECONDS)
    reserved = min(math.ceil(per_window * reserved_share), per_window - 1)
    if (not reserved or window.test(item, company_id, cost=calls + reserved)) and window.hit(
        item, company_id, cost=calls
    ):
        return 0.0
    return max(0.1, window.get_window_stats(item, company_id).reset_time - time.time())
