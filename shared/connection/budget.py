"""Front's rate limit for each company, counted by all processes together."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self, TypeVar

from limits import RateLimitItem, RateLimitItemPerSecond
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import MovingWindowRateLimiter
from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry

from shared.errors import BudgetExhausted, StoreUnavailable
from shared.redis_clients import redis_client

_KEY_PREFIX = "mailroom:front"
_LIMIT_TTL_SECONDS = 86_400
#: Front counts by the minute. Benchmarks set less, with a small Front that does the same.
WINDOW_SECONDS = 60
_REDIS_SECONDS = 0.5
_BREAKER_SECONDS = 5.0
#: One header may stop a company for a window or two, but not for as long as a wrong clock says.
_MAX_RESET_SECONDS = 120.0
_MAX_PAUSE_SECONDS = 3600.0
_SCAN_COUNT = 1_000
#: Counts one request in one round trip. Its window is the list that `limits` keeps and counts in too: the times of the
#: latest requests, newest first. Returns the milliseconds left of a pause, the limit, and whether the request counts.
_TAKE = """
local paused = redis.call('pttl', KEYS[1])
if paused > 0 then return {paused, 0, 0} end
local limit = tonumber(redis.call('get', KEYS[2]) or ARGV[1])
local most = math.max(1, limit - tonumber(ARGV[2]))
local left = math.min(math.ceil(most * tonumber(ARGV[3])), most - 1)
local window = KEYS[3] .. '/' .. most .. '/' .. ARGV[5] .. '/second'
local one_too_many = redis.call('lindex', window, most - 1 - left)
if one_too_many and tonumber(one_too_many) >= ARGV[4] - ARGV[5] then return {0, limit, 0} end
redis.call('lpush', window, ARGV[4])
redis.call('ltrim', window, 0, most - 1)
redis.call('expire', window, ARGV[5])
return {0, limit, 1}
"""

T = TypeVar("T")


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

    def __init__(self, redis: Redis, *, default_per_minute: int = 120, reserve: int = 5):
        self._redis = redis
        self._default = default_per_minute
        self._reserve = reserve
        self._companies: dict[str, _Company] = {}
        self._redis_away_until = 0.0
        self._take = redis.register_script(_TAKE)
        storage = RedisStorage("redis://", connection_pool=redis.connection_pool, key_prefix=f"{_KEY_PREFIX}:window")
        self._shared_window = MovingWindowRateLimiter(storage)
        self._local_window = MovingWindowRateLimiter(MemoryStorage())

    @classmethod
    def from_url(cls, url: str, *, default_per_minute: int = 120, reserve: int = 5) -> Self:
        """Return a budget with connections of its own, which wait half a second for Redis."""
        redis = redis_client(
            url,
            socket_timeout=_REDIS_SECONDS,
            socket_connect_timeout=_REDIS_SECONDS,
            # A new connection after a restart of Redis; no second try when Redis hangs.
            retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
        )
        return cls(redis, default_per_minute=default_per_minute, reserve=reserve)

    def take(self, company_id: str, *, reserved_share: float = 0.0) -> None:
        """Count one request. Raises BudgetExhausted with the seconds to wait, and then counts nothing.

        `reserved_share`: the share of the limit that stays free for others, by our count and by Front's last answer.
        """
        company = self._company(company_id)
        wait = max(company.paused_until - time.monotonic(), _wait_for_others(company, reserved_share))
        if wait <= 0:
            shared_wait = self._with_redis(lambda: self._take_shared(company_id, company, reserved_share))
            wait = self._take_locally(company_id, company, reserved_share) if shared_wait is None else shared_wait
        if wait > 0:
            raise BudgetExhausted(f"Front's rate limit is used up for {wait:.1f} s", retry_after=wait)

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
            keys = [_key(kind, company_id) for kind in ("limit", "pause")]
            keys += self._redis.scan_iter(match=f"{_KEY_PREFIX}:window*/{company_id}/*", count=_SCAN_COUNT)
            self._redis.delete(*keys)
        except RedisError as exc:
            raise StoreUnavailable(f"Redis did not do its part ({exc}); check REDIS_URL and the server") from exc
        self._companies.pop(company_id, None)

    def _take_shared(self, company_id: str, company: _Company, reserved_share: float) -> float:
        keys = [_key("pause", company_id), _key("limit", company_id), f"{_KEY_PREFIX}:window:LIMITER/{company_id}"]
        paused_ms, limit, taken = self._take(
            keys, [self._default, self._reserve, reserved_share, time.time(), WINDOW_SECONDS]
        )
        if paused_ms > 0:
            return float(paused_ms) / 1000
        company.limit = int(limit)
        if taken:
            return 0.0
        return _seconds_until_room(self._shared_window, _item(company.limit - self._reserve), company_id)

    def _take_locally(self, company_id: str, company: _Company, reserved_share: float) -> float:
        return _take_from(self._local_window, max(1, (company.limit - self._reserve) // 4), company_id, reserved_share)

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


def _wait_for_others(company: _Company, reserved_share: float) -> float:
    """Return the seconds until Front's window ends when all that remains in it is reserved for others, else 0."""
    if not reserved_share or company.remaining is None or company.remaining > company.limit * reserved_share:
        return 0.0
    return company.reset_at - time.time()


def _take_from(window: MovingWindowRateLimiter, per_minute: int, company_id: str, reserved_share: float) -> float:
    """Count one request in the window and return 0, or count nothing and return the seconds until there is room."""
    item = _item(per_minute)
    reserved = min(math.ceil(per_minute * reserved_share), per_minute - 1)
    if (not reserved or window.test(item, company_id, cost=1 + reserved)) and window.hit(item, company_id):
        return 0.0
    return _seconds_until_room(window, item, company_id)


def _item(per_window: int) -> RateLimitItem:
    return RateLimitItemPerSecond(max(1, per_window), WINDOW_SECONDS)


def _seconds_until_room(window: MovingWindowRateLimiter, item: RateLimitItem, company_id: str) -> float:
    return max(0.1, window.get_window_stats(item, company_id).reset_time - time.time())
