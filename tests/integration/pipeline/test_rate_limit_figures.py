"""The sweeper publishes how tenants fare at Front's rate limit, and logs it once in ten minutes."""

from __future__ import annotations

import time

import pytest
from structlog.testing import capture_logs

from shared.process.metrics import TenantsAtLimit
from shared.redis_clients import brief_redis_client
from tests.integration.pipeline.harness import NORA, TO_NORA, Harness
from workers.sweeping.periodic_jobs import WatchRateLimits


def watch(harness: Harness) -> list[dict[str, object]]:
    """Run the job once, and return what it logged."""
    with capture_logs() as logged:
        WatchRateLimits()(harness.resources)
    return [dict(line) for line in logged]


def samples(harness: Harness) -> dict[tuple[str, ...], float]:
    collector = TenantsAtLimit(harness.settings.redis_url.get_secret_value())
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in collector.collect()
        for sample in family.samples
    }


@pytest.fixture
def tenant(harness: Harness) -> int:
    """A tenant at the limit, with a mail to work off."""
    tenant = harness.tenant("cmp_acme")
    harness.user(tenant, NORA)
    harness.send("inbound_received", "cmp_acme", recipients=TO_NORA)
    harness.record()
    harness.sql("UPDATE tasks SET state = 'ready'")
    harness.sql("UPDATE tenants SET at_limit_at = now()")
    return tenant


def test_the_figures_become_metrics(harness: Harness, tenant: int) -> None:
    harness.sql("UPDATE tasks SET is_live = false")
    watch(harness)
    assert samples(harness) == {
        ("mailroom_front_calls", "Acme", "used"): 0,
        ("mailroom_front_calls", "Acme", "wasted"): 0,
        ("mailroom_front_limit", "Acme"): 120,
        ("mailroom_front_waiting_tasks", "Acme", "live"): 0,
        ("mailroom_front_waiting_tasks", "Acme", "backlog"): 1,
    }
    harness.sql("UPDATE tenants SET at_limit_at = NULL WHERE id = %s", tenant)
    watch(harness)
    assert samples(harness) == {}


@pytest.mark.usefixtures("tenant")
def test_the_figures_of_a_sweeper_that_is_gone_expire(harness: Harness) -> None:
    watch(harness)
    with brief_redis_client(harness.settings.redis_url.get_secret_value()) as redis:
        assert 0 < redis.ttl("mailroom:front:tenants_at_limit") <= 180


def test_the_limit_is_logged_once_in_ten_minutes(harness: Harness, tenant: int) -> None:
    [line] = watch(harness)
    assert line == {
        "event": "rate_limit_reached",
        "log_level": "warning",
        "tenant_id": tenant,
        "company_id": "cmp_acme",
        "limit": 120,
        "used": 0,
        "wasted": 0,
        "waiting": 0,
        "waiting_live": 1,
    }
    assert watch(harness) == []
    with brief_redis_client(harness.settings.redis_url.get_secret_value()) as redis:
        [key] = redis.keys("mailroom:front:reported:*")
        assert 590 < redis.ttl(key) <= 600
        redis.delete(key)
    assert len(watch(harness)) == 1


def test_metrics_without_redis_show_nothing_of_the_limit() -> None:
    assert [family.samples for family in TenantsAtLimit("redis://127.0.0.1:9/0").collect()] == [[], [], []]


def usage_now(harness: Harness) -> tuple[int, int]:
    """Return the used and wasted calls of this minute and the one before."""
    with brief_redis_client(harness.settings.redis_url.get_secret_value()) as redis:
        counts = [redis.hmget(key, "used", "wasted") for key in redis.scan_iter("mailroom:front:counts:cmp_acme:*")]
    return sum(int(used or 0) for used, _ in counts), sum(int(wasted or 0) for _, wasted in counts)


@pytest.mark.parametrize(
    ("method", "path", "kind", "count", "figures"),
    [
        ("PATCH", None, "429", 1, (3, 1)),  # what was read is kept
        ("GET", "/events", "429", 1, (2, 1)),
        ("GET", "/events", "503", 3, (4, 3)),
        ("GET", "/conversations/[a-z0-9_]+$", "429", 1, (1, 1)),
        ("PATCH", None, "404_heals", 1, (3, 0)),  # the attempt came to an end
    ],
)
def test_calls_are_wasted_when_an_attempt_comes_to_nothing_and_keeps_nothing(
    harness: Harness, method: str, path: str | None, kind: str, count: int, figures: tuple[int, int]
) -> None:
    harness.user(harness.tenant("cmp_acme"), NORA)
    harness.send("inbound_received", "cmp_acme", recipients=TO_NORA, emitted_at=time.time() - 120)
    harness.record()
    fault = {"kind": kind, "method": method, "count": count}
    harness.control("faults", fault | ({"path_regex": path} if path else {}))
    harness.work()
    assert usage_now(harness) == figures
