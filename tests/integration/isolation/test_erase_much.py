"""Erasing a company takes work in proportion to what there is of it, not to what there is of all."""

from __future__ import annotations

from functools import partial

import pytest

from console.erasing import erase_everything
from shared.db.tenants import erasing
from tests.integration.isolation.test_erase_races import places
from tests.integration.pipeline.rig import Rig

FETCHED = "SELECT idx_tup_fetch::int FROM pg_stat_user_tables WHERE relname = 'events'"
THEIRS, ALL = 500, 10_000


def fetched(rig: Rig) -> int:
    """How many rows of events were read by index so far; each session tells now and then, unless it is asked to."""
    rig.sql("SELECT pg_stat_force_next_flush()")
    return int(rig.one(FETCHED))


def test_others_events_are_not_read_again_with_every_batch(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    acme = rig.tenant("cmp_acme")
    rig.tenant("cmp_other", "Other")
    rig.sql(
        """
        INSERT INTO events (company_id, front_id, tenant_id, type, received_at, state)
        SELECT t.company_id, 'evt_' || n, t.id, 'tag_added', now(), 'done' FROM generate_series(1, %s) n
        JOIN tenants t ON (t.name = 'Acme') = (n %% %s = 0)
        """,
        ALL,
        ALL // THEIRS,
    )
    rig.sql("ANALYZE events")
    monkeypatch.setattr("console.erasing.EVENTS_AT_ONCE", 20)
    subject = rig.resources.pool.run(partial(erasing.mark_tenant, tenant_id=acme))
    before = fetched(rig)
    erase_everything(places(rig), subject, lambda _: None)
    assert rig.one("SELECT count(*)::int FROM events") == ALL - THEIRS
    assert fetched(rig) - before < 10 * THEIRS
