"""The metrics that a process shows on /metrics.

When PROMETHEUS_MULTIPROC_DIR is set before this module is imported, the counts of the door's processes are added up.

The door asks PostgreSQL nothing. So the sweeper leaves the figures of the tenants at Front's rate limit in Redis.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from redis import Redis, RedisError

from shared.redis_clients import brief_redis_client

_MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"

DELIVERIES = Counter(
    "mailroom_deliveries",
    "Webhooks at the door: `intake` or `spool` (kept), `challenge`, or the code of a refusal",
    ["result"],
)
DOOR_SECONDS = Histogram(
    "mailroom_door_seconds",
    "How long the door took to answer a webhook",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0),
)
SIGNING_KEYS = Counter(
    "mailroom_signing_key_matches",
    "Which of FRONT_SIGNING_KEYS fitted, by position: an old key that no longer grows can go",
    ["position"],
)
BELLS = Counter(
    "mailroom_bells", "Tasks that wake the recorder: `sent`, or `failed` (the sweeper records then)", ["result"]
)
STORES_AWAY = Counter("mailroom_store_away", "How often the door found a store away", ["store"])

#: These return one series of a counter without the lock and the checks of `labels`, because each webhook counts there.
deliveries = cache(DELIVERIES.labels)
signing_keys = cache(SIGNING_KEYS.labels)

#: The figures of the tenants at Front's rate limit, as JSON. They expire, so that a dead sweeper shows nothing.
_TENANTS_AT_LIMIT = "mailroom:front:tenants_at_limit"
_TENANTS_AT_LIMIT_SECONDS = 180
_FIGURES = ("tenant", "limit", "used", "wasted", "waiting", "waiting_live")


def publish_tenants_at_limit(redis: Redis, tenants: Sequence[Mapping[str, Any]]) -> None:
    """Have all doors show these figures for three minutes, in place of those published before. Raises RedisError.

    Each tenant has its name as `tenant`, `limit`, `used` and `wasted` (None if unknown), `waiting` and `waiting_live`.
    """
    figures = [{name: each[name] for name in _FIGURES} for each in tenants]
    redis.set(_TENANTS_AT_LIMIT, json.dumps(figures), ex=_TENANTS_AT_LIMIT_SECONDS)


class TenantsAtLimit(Collector):
    """The published figures of the tenants at Front's rate limit; none while Redis is away."""

    def __init__(self, redis_url: str):
        self._redis = brief_redis_client(redis_url)

    def collect(self) -> Iterator[Metric]:
        """Read the figures from Redis."""
        calls = GaugeMetricFamily(
            "mailroom_front_calls",
            "Calls to Front in the last whole minute, of tenants at its rate limit: `used`, or `wasted` among them",
            labels=["tenant", "result"],
        )
        limit = GaugeMetricFamily("mailroom_front_limit", "Calls that Front allows a minute", labels=["tenant"])
        waiting = GaugeMetricFamily(
            "mailroom_front_waiting_tasks",
            "Due tasks of tenants at Front's rate limit: `live` of new events, or `backlog`",
            labels=["tenant", "lane"],
        )
        for each in self._published():
            name = each["tenant"]
            if each["limit"] is not None:
                calls.add_metric([name, "used"], each["used"])
                calls.add_metric([name, "wasted"], each["wasted"])
                limit.add_metric([name], each["limit"])
            waiting.add_metric([name, "live"], each["waiting_live"])
            waiting.add_metric([name, "backlog"], each["waiting"])
        yield from (calls, limit, waiting)

    def describe(self) -> list[Metric]:
        """Describe nothing ahead: the registry would ask Redis for it."""
        return []

    def _published(self) -> list[dict[str, Any]]:
        try:
            published: Any = self._redis.get(_TENANTS_AT_LIMIT)
        except RedisError:
            return []
        return json.loads(published) if published else []


_of_all_processes = CollectorRegistry()


def show_tenants_at_limit(redis_url: str) -> None:
    """From now on, show the published figures of the tenants at Front's rate limit, too."""
    _of_all_processes.register(TenantsAtLimit(redis_url))


def exposition() -> bytes:
    """Return all metrics in the text format of Prometheus."""
    registry = REGISTRY
    if _MULTIPROCESS in os.environ:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry) + generate_latest(_of_all_processes)
