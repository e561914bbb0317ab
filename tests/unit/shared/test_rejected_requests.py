"""Rejected requests are added up by hour and day in Redis, and of each reason the last samples stay."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import fakeredis
import pytest

from shared import rejected_requests
from shared.errors import StoreUnavailable
from shared.rejected_requests import (
    DAY,
    HOUR,
    KEPT,
    LONGEST_DETAIL,
    SLOT_SECONDS,
    RejectedRequest,
    RejectedRequests,
    slot_of,
)

NOW = 1_786_440_071.456
SAMPLE = RejectedRequest(
    at=datetime.fromtimestamp(NOW, UTC), status=401, network="203.0.113.0/24", size=5, detail="does not fit"
)


@pytest.fixture
def redis() -> fakeredis.FakeRedis:
    return fakeredis.FakeRedis()


@pytest.fixture
def store(redis: fakeredis.FakeRedis, monkeypatch: pytest.MonkeyPatch) -> RejectedRequests:
    monkeypatch.setattr(rejected_requests, "brief_redis_client", lambda _: redis)
    return RejectedRequests("redis://unused")


def ago(seconds: float) -> int:
    return slot_of(NOW - seconds)


def test_nothing_is_an_empty_list(store: RejectedRequests) -> None:
    assert store.read(NOW) == []


def test_counts_are_added_up_by_hour_and_day(store: RejectedRequests) -> None:
    store.add({ago(0): {"not_found": 2}, ago(2 * HOUR): {"not_found": 5}}, {})
    store.add({ago(0): {"not_found": 1, "stale_timestamp": 1}, ago(HOUR): {"not_found": 10}}, {})
    store.add({ago(HOUR - SLOT_SECONDS): {"not_found": 100}, ago(DAY): {"not_found": 1000, "odd": 1}}, {})
    found = [(each.reason, each.last_hour, each.last_day) for each in store.read(NOW)]
    assert found == [("not_found", 103, 118), ("stale_timestamp", 1, 1)]


def test_the_last_samples_stay_and_the_latest_is_first(store: RejectedRequests) -> None:
    samples = [replace(SAMPLE, size=number) for number in range(KEPT + 5)]
    store.add({ago(0): {"not_found": 99}}, {"not_found": samples[:3]})
    store.add({}, {"not_found": samples[3:]})
    [found] = store.read(NOW)
    assert found.samples == samples[: -KEPT - 1 : -1]


def test_a_sample_of_another_form_is_left_out(store: RejectedRequests, redis: fakeredis.FakeRedis) -> None:
    store.add({ago(0): {"not_found": 1}}, {"not_found": [SAMPLE]})
    for text in ("", "[]", "{}", '{"at": "x"}', '{"at": 1e99}', "\udcff".encode("utf-8", "surrogateescape")):
        redis.lpush("mailroom:rejected:samples:not_found", text)
    assert store.read(NOW)[0].samples == [SAMPLE]


def test_a_detail_is_cut(store: RejectedRequests) -> None:
    store.add({ago(0): {"odd": 1}}, {"odd": [replace(SAMPLE, detail="x" * 10_000)]})
    assert len(store.read(NOW)[0].samples[0].detail) == LONGEST_DETAIL


def test_all_keys_expire(store: RejectedRequests, redis: fakeredis.FakeRedis) -> None:
    store.add({ago(0): {"not_found": 1}}, {"not_found": [SAMPLE]})
    keys: Any = redis.keys()
    lives = [redis.ttl(key) for key in keys]
    assert (len(lives), min(lives) > 0, max(lives) <= DAY + 2 * HOUR) == (2, True, True)  # type: ignore[type-var]


def test_redis_away_is_store_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    server = fakeredis.FakeServer()
    server.connected = False
    away = fakeredis.FakeRedis(server=server)
    monkeypatch.setattr(rejected_requests, "brief_redis_client", lambda _: away)
    store = RejectedRequests("redis://unused")
    with pytest.raises(StoreUnavailable, match="REDIS_URL"):
        store.read(NOW)
    with pytest.raises(StoreUnavailable, match="REDIS_URL"):
        store.add({ago(0): {"not_found": 1}}, {"not_found": [SAMPLE]})
