"""The cost of an erasure grows with the rows of the company, not with all rows."""

from __future__ import annotations

from functools import partial

import pytest

from console.erasing import erase_everything
from shared.db.tenants import erasing
from tests.integration.isolation.test_erase_races import stores
from tests.integration.pipeline.harness import Harness

FETCHED = "SELECT idx_tup_fetch::int FROM pg_stat_user_tables WHERE relname = 'events'"
THEIRS, ALL = 500, 10_000


def fetched_rows(harness: Harness) -> int:
    """Return how many rows of events were read by index. A session reports its count only at times, unless forced."""
    harness.sql("SELECT pg_stat_force_next_flush()")
    return int(harness.one(FETCHED))


def test_others_events_are_not_read_again_with_every_batch(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    acme = harness.tenant("cmp_acme")
    harness.tenant("cmp_other", "Other")
    harness.sql(
        """
        INSERT INTO events (company_id, front_id, tenant_id, type, received_at, state)
        SELECT t.company_id, 'evt_' || n, t.id, 'tag_added', now(), 'done' FROM generate_series(1, %s) n
        JOIN tenants t ON (t.name = 'Acme') = (n %% %s = 0)
        """,
        ALL,
        ALL // THEIRS,
    )
    harness.sql("ANALYZE events")
    monkeypatch.setattr("console.erasing.EVENTS_AT_ONCE", 20)
    subject = harness.resources.pool.run(partial(erasing.mark_tenant, tenant_id=acme))
    before = fetched_rows(harness)
    erase_everything(stores(harness), subject, lambda _: None)
    assert harness.one("SELECT count(*)::int FROM events") == ALL - THEIRS
    assert fetched_rows(harness) - before < 10 * THEIRS
