"""The figures of a minute count what is recorded and worked, for its tenant and for all together."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from shared.db import figures
from tests.integration.pipeline.harness import NORA, TO_NORA
from tests.integration.pipeline.test_recording import receive

if TYPE_CHECKING:
    from shared.db.figures import Sums
    from tests.integration.pipeline.harness import Harness


def sums(harness: Harness) -> Sums:
    """Return the figures of the last hour, with those that the worker has in memory."""
    harness.resources.figures.write()
    since = datetime.now(UTC) - timedelta(hours=1)
    return harness.resources.pool.run(lambda conn: figures.sums(conn, since))


def of_tenant(harness: Harness, tenant: int, kind: str) -> int:
    """Return a figure of a tenant in the last hour."""
    since = datetime.now(UTC) - timedelta(hours=1)
    minutes = harness.resources.pool.run(lambda conn: figures.by_minute(conn, since, tenant_id=tenant))
    return sum(getattr(each, kind) for each in minutes)


def test_each_delivery_counts_once_and_each_event_once(harness: Harness) -> None:
    tenant = harness.tenant("cmp_acme")
    receive(harness)
    receive(harness)  # the same event
    receive(harness, type="moon_rose", payload={"id": "evt_2"})
    receive(harness, authorization={"id": "cmp_other"}, payload={"id": "evt_3"})
    harness.receive(b"no JSON")
    harness.record()
    receive(harness)
    harness.record()
    found = sums(harness)
    assert (found.received, found.recorded, found.ignored, found.parked, found.failed) == (6, 4, 1, 1, 1)
    assert [of_tenant(harness, tenant, kind) for kind in ("received", "recorded", "ignored", "parked")] == [4, 2, 1, 0]


def test_tasks_and_their_calls_are_counted_by_the_worker(harness: Harness) -> None:
    tenant = harness.tenant("cmp_acme")
    harness.user(tenant, NORA)
    harness.send("inbound_received", "cmp_acme", recipients=TO_NORA)
    harness.record()
    harness.work()
    calls = harness.one("SELECT sum(jsonb_array_length(calls)) FROM attempts")
    found = sums(harness)
    assert (found.done, found.failed, found.calls, found.calls_refused) == (1, 0, calls, 0)
    assert of_tenant(harness, tenant, "calls") == calls
    assert sums(harness) == found  # what is written counts no second time


def test_a_token_that_front_refuses_counts_as_parked(harness: Harness) -> None:
    tenant = harness.tenant("cmp_acme", token="wrong")
    harness.user(tenant, NORA)
    harness.send("inbound_received", "cmp_acme", recipients=TO_NORA)
    harness.record()
    harness.work()
    assert (sums(harness).parked, sums(harness).done) == (1, 0)


def test_open_work_is_counted_by_the_first_who_asks_and_shared(harness: Harness) -> None:
    def look() -> tuple[int, int]:
        work = harness.resources.pool.run(figures.open_work)
        return work.due + work.in_flight, work.failed

    tenant = harness.tenant("cmp_acme")
    harness.user(tenant, NORA)
    assert look() == (0, 0)
    harness.send("inbound_received", "cmp_acme", recipients=TO_NORA)
    harness.receive(b"no JSON")
    harness.record()
    assert look() == (0, 0)
    harness.sql("UPDATE shared_figures SET computed_at = now() - interval '6 s'")
    assert look() == (1, 1)


def test_what_is_parked_is_not_due(harness: Harness) -> None:
    tenant = harness.tenant("cmp_acme")
    harness.user(tenant, NORA)
    harness.send("inbound_received", "cmp_acme", recipients=TO_NORA)
    harness.record()
    harness.sql("UPDATE tenants SET parked_cause = 'paused' WHERE id = %s", tenant)
    work = harness.resources.pool.run(figures.open_work)
    assert (work.due, work.parked, work.oldest_due_at) == (0, 1, None)
