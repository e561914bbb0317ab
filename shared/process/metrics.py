"""The metrics that a process shows on /metrics: its own, and what `show` adds.

When PROMETHEUS_MULTIPROC_DIR is set before this module is imported, the counts of the door's processes are added up.

The door asks PostgreSQL nothing. So the sweeper leaves the figures of the tenants at Front's rate limit in Redis.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry, disable_created_metrics, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from redis import Redis, RedisError

from shared import installed_version
from shared.redis_clients import brief_redis_client

_MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
disable_created_metrics()  # type: ignore[no-untyped-call]  # a series more for each counter, which nobody asks for in this format

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


class BuildInfo(Collector):
    """The version of Mailroom, and the kind of this process."""

    def __init__(self, kind: str):
        self._labels = {"kind": kind, "version": installed_version() or ""}

    def collect(self) -> Iterator[Metric]:
        """Return 1, with what is known as labels."""
        yield InfoMetricFamily("mailroom_build", "The version of Mailroom, and the kind of this process", self._labels)


def show(collector: Collector) -> None:
    """From now on, show what this collector finds, too; once, however many processes of the door there are."""
    _of_all_processes.register(collector)


def exposition() -> bytes:
    """Return all metrics in the text format of Prometheus."""
    registry = REGISTRY
    if _MULTIPROCESS in os.environ:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry) + generate_latest(_of_all_processes)
