"""The company's share of Front's rate limit, counted by all workers together."""

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

_KEYS = "mailroom:front"
#: Front counts by the minute. Benchmarks set less, with a small Front that does the same.
WINDOW_SECONDS = 60
_LIMIT_KEPT_SECONDS = 86_400
_REDIS_SECONDS = 0.5
_BREAKER_SECONDS = 5.0
#: A header is one answer's word: it may stop a company for a window or two, not for as long as a wrong clock says.
_LONGEST_RESET = 120.0
_LONGEST_PAUSE = 3600.0
_SCANNED_AT_ONCE = 1_000
# All of taking in one round trip. The window is that of `limits`, whose other parts count in it, too: the moments of
# the latest requests, newest first. Gives what is left of a pause in ms, the limit, and whether one was counted.
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
class _Known:
    """What this process knows of one company; enough to go on with while Redis is away."""

    limit: int
    paused_until: float = 0.0
    remaining: int | None = None  # as Front said last, in the window that ends at `reset_at`
    reset_at: float = 0.0


class Budget:
    """Requests to Front, a minute's window per company. May be shared by threads.

    Front's own headers beat our count. While Redis is away each process keeps to a quarter of the limit by itself, so
    Redis' trouble is never an error of ours; the only one raised is BudgetExhausted.
    """

    def __init__(self, redis: Redis, *, default_per_minute: int = 120, reserve: int = 5):
        self._redis = redis
        self._default = default_per_minute
        self._reserve = reserve
        self._known: dict[str, _Known] = {}
        self._redis_away_until = 0.0
        self._take = redis.register_script(_TAKE)
        storage = RedisStorage("redis://", connection_pool=redis.connection_pool, key_prefix=f"{_KEYS}:window")
        self._shared_window = MovingWindowRateLimiter(storage)
        self._own_window = MovingWindowRateLimiter(MemoryStorage())

    @classmethod
    def from_url(cls, url: str, *, default_per_minute: int = 120, reserve: int = 5) -> Self:
        """A budget with connections of its own that give Redis half a second."""
        redis = Redis.from_url(
            url,
            socket_timeout=_REDIS_SECONDS,
            socket_connect_timeout=_REDIS_SECONDS,
            # One fresh connection when Redis was restarted; nothing for a Redis that hangs.
            retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
        )
        return cls(redis, default_per_minute=default_per_minute, reserve=reserve)

    def take(self, company_id: str, *, leaving: float = 0.0) -> None:
        """Count one request. Raises BudgetExhausted with the seconds to wait; then nothing was counted.

        `leaving`: the share of the limit that must be left to others, by our count and by Front's last word.
        """
        known = self._of(company_id)
        wait = max(known.paused_until - time.monotonic(), _others_need(known, leaving))
        if wait <= 0:
            together = self._with_redis(lambda: self._take_together(company_id, known, leaving))
            wait = self._take_alone(company_id, known, leaving) if together is None else together
        if wait > 0:
            raise BudgetExhausted(f"Front's rate limit is used up for {wait:.1f} s", retry_after=wait)

    def learn(self, company_id: str, *, limit: int | None, remaining: int | None, reset_at: float | None) -> None:
        """Take over what Front's headers said: a new limit counts from now on, nothing remaining pauses until reset."""
        if limit is not None and limit <= 0:
            return  # no limit at all is no word about one
        known = self._of(company_id)
        if limit is not None and limit != known.limit:
            known.limit = limit
            self._with_redis(lambda: self._redis.set(_key("limit", company_id), limit, ex=_LIMIT_KEPT_SECONDS))
        if remaining is not None and reset_at is not None:
            known.remaining, known.reset_at = remaining, min(reset_at, time.time() + _LONGEST_RESET)
        if remaining is not None and remaining <= 0 and reset_at is not None:
            self.pause(company_id, min(reset_at - time.time(), _LONGEST_RESET))

    def pause(self, company_id: str, seconds: float) -> None:
        """Keep every worker from asking for this company; a longer pause already standing stays."""
        seconds = min(seconds, _LONGEST_PAUSE)
        if seconds <= 0:
            return
        known = self._of(company_id)
        known.paused_until = max(known.paused_until, time.monotonic() + seconds)
        self._with_redis(lambda: self._pause_together(_key("pause", company_id), int(seconds * 1000)))

    def forget(self, company_id: str) -> None:
        """Remove what Redis keeps of the company. Raises StoreUnavailable."""
        try:
            keys = [_key(kind, company_id) for kind in ("limit", "pause")]
            keys += self._redis.scan_iter(match=f"{_KEYS}:window*/{company_id}/*", count=_SCANNED_AT_ONCE)
            self._redis.delete(*keys)
        except RedisError as exc:
            raise StoreUnavailable(f"Redis did not do its part ({exc}); check REDIS_URL and the server") from exc
        self._known.pop(company_id, None)

    def _take_together(self, company_id: str, known: _Known, leaving: float) -> float:
        keys = [_key("pause", company_id), _key("limit", company_id), f"{_KEYS}:window:LIMITER/{company_id}"]
        paused_ms, limit, taken = self._take(keys, [self._default, self._reserve, leaving, time.time(), WINDOW_SECONDS])
        if paused_ms > 0:
            return float(paused_ms) / 1000
        known.limit = int(limit)
        if taken:
            return 0.0
        return _until_room(self._shared_window, _item(known.limit - self._reserve), company_id)

    def _take_alone(self, company_id: str, known: _Known, leaving: float) -> float:
        return _wait_of(self._own_window, max(1, (known.limit - self._reserve) // 4), company_id, leaving)

    def _pause_together(self, key: str, milliseconds: int) -> None:
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.set(key, 1, px=max(milliseconds, 1), nx=True)
            pipe.pexpire(key, max(milliseconds, 1), gt=True)
            pipe.execute()

    def _with_redis(self, step: Callable[[], T]) -> T | None:
        """The step's result, None while Redis is away: then it is left alone for some seconds."""
        if time.monotonic() < self._redis_away_until:
            return None
        try:
            return step()
        except RedisError:
            self._redis_away_until = time.monotonic() + _BREAKER_SECONDS
            return None

    def _of(self, company_id: str) -> _Known:
        return self._known.setdefault(company_id, _Known(limit=self._default))


def _key(kind: str, company_id: str) -> str:
    return f"{_KEYS}:{kind}:{company_id}"


def _others_need(known: _Known, leaving: float) -> float:
    """Seconds until Front's window ends, when of what it said to remain nothing is to spare."""
    if not leaving or known.remaining is None or known.remaining > known.limit * leaving:
        return 0.0
    return known.reset_at - time.time()


def _wait_of(window: MovingWindowRateLimiter, per_minute: int, company_id: str, leaving: float) -> float:
    """Count one in the window: 0, or the seconds until it has room again, for this one and what is left to others."""
    item = _item(per_minute)
    left = min(math.ceil(per_minute * leaving), per_minute - 1)
    if (not left or window.test(item, company_id, cost=1 + left)) and window.hit(item, company_id):
        return 0.0
    return _until_room(window, item, company_id)


def _item(per_window: int) -> RateLimitItem:
    return RateLimitItemPerSecond(max(1, per_window), WINDOW_SECONDS)


def _until_room(window: MovingWindowRateLimiter, item: RateLimitItem, company_id: str) -> float:
    return max(0.1, window.get_window_stats(item, company_id).reset_time - time.time())
