"""The requests that the door rejected: counts by reason, and the last ones of each reason, in Redis.

Everybody can send the door requests that it rejects. So PostgreSQL has no part in this, and Redis holds little: counts
of a day in slots of five minutes, and KEPT samples of each reason. They are lost when Redis is flushed.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import redis

from shared.errors import StoreUnavailable
from shared.redis_clients import brief_redis_client

KEPT = 20  # samples of each reason
SLOT_SECONDS = 300
HOUR, DAY = 3600, 86_400
LONGEST_DETAIL = 300  # characters

#: One hash for each hour. Its fields are slots with their reasons; Redis keeps so few in its compact form.
_COUNTS = "mailroom:rejected:counts:{hour}"
_SAMPLES = "mailroom:rejected:samples:{reason}"
_COUNTS_SECONDS = DAY + 2 * HOUR
_SAMPLES_SECONDS = DAY

#: The number of requests by slot, which is the time in units of SLOT_SECONDS, and by reason.
Counts = Mapping[int, Mapping[str, int]]


@dataclass(frozen=True, kw_only=True)
class RejectedRequest:
    """One request that was rejected, without anything by which its sender or its content could be known.

    `network` is the address without its last part: a /24 of IPv4, a /48 of IPv6. `size` is that of the body in bytes,
    as far as it is known. `detail` holds words of ours, never those of the sender.
    """

    at: datetime
    status: int
    network: str
    size: int | None
    detail: str


@dataclass(frozen=True, kw_only=True)
class Rejections:
    """The requests that were rejected for one reason, the latest sample first. Counts are exact to five minutes."""

    reason: str
    last_hour: int
    last_day: int
    samples: list[RejectedRequest]


class RejectedRequests:
    """The counts and samples at REDIS_URL. Connects when first used, and waits half a second at most."""

    def __init__(self, redis_url: str) -> None:
        self._redis = brief_redis_client(redis_url)

    def add(self, counts: Counts, samples: Mapping[str, Sequence[RejectedRequest]]) -> None:
        """Add counts and samples, the latest sample last, in one round trip.

        Raises StoreUnavailable. Even then they may have been added.
        """
        pipeline = self._redis.pipeline(transaction=False)
        for slot, by_reason in counts.items():
            key = _COUNTS.format(hour=slot * SLOT_SECONDS // HOUR)
            for reason, count in by_reason.items():
                pipeline.hincrby(key, f"{slot}:{reason}", count)
            pipeline.expire(key, _COUNTS_SECONDS)
        for reason, newest in samples.items():
            key = _SAMPLES.format(reason=reason)
            pipeline.lpush(key, *map(_written, newest))
            pipeline.ltrim(key, 0, KEPT - 1)
            pipeline.expire(key, _SAMPLES_SECONDS)
        _execute(pipeline)

    def read(self, now: float) -> list[Rejections]:
        """Return the rejections of the last day by reason, the most frequent first. Raises StoreUnavailable."""
        pipeline = self._redis.pipeline(transaction=False)
        hour = int(now) // HOUR
        for each in range(hour - DAY // HOUR, hour + 1):
            pipeline.hgetall(_COUNTS.format(hour=each))
        of_hour, of_day = _added_up(_execute(pipeline), now)
        return [
            Rejections(
                reason=reason, last_hour=of_hour[reason], last_day=count, samples=self._samples(reason) if count else []
            )
            for reason, count in of_day.most_common()
        ]

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def _samples(self, reason: str) -> list[RejectedRequest]:
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.lrange(_SAMPLES.format(reason=reason), 0, KEPT - 1)
        [found] = _execute(pipeline)
        return [each for each in map(_read, found) if each is not None]


def slot_of(moment: float) -> int:
    """Return the slot in which something is counted that happened at this Unix time."""
    return int(moment) // SLOT_SECONDS


def _added_up(hashes: Sequence[Mapping[bytes, bytes]], now: float) -> tuple[Counter[str], Counter[str]]:
    """Return the counts of the last hour and of the last day by reason."""
    of_hour, of_day = Counter[str](), Counter[str]()
    for name, count in (pair for each in hashes for pair in each.items()):
        slot, _, reason = name.decode("utf-8", "replace").partition(":")
        age = slot_of(now) - int(slot)
        of_day[reason] += int(count) if age < DAY // SLOT_SECONDS else 0
        of_hour[reason] += int(count) if age < HOUR // SLOT_SECONDS else 0
    return of_hour, +of_day


def _written(sample: RejectedRequest) -> str:
    fields = asdict(sample) | {"at": sample.at.timestamp(), "detail": sample.detail[:LONGEST_DETAIL]}
    return json.dumps(fields)


def _read(text: bytes) -> RejectedRequest | None:
    """Read a sample; None for one that another release wrote in another form."""
    try:
        fields = json.loads(text)
        return RejectedRequest(**fields | {"at": datetime.fromtimestamp(fields["at"], UTC)})
    except (ValueError, TypeError, KeyError, OverflowError):
        return None


def _execute(pipeline: Any) -> list[Any]:
    try:
        answers: list[Any] = pipeline.execute()
    except redis.RedisError as exc:
        raise StoreUnavailable(f"Redis did not do its part ({exc}); check REDIS_URL and the server") from exc
    return answers
