"""Two operators erase the same tenant at once: it is gone, and both commands succeed."""

from __future__ import annotations

from functools import partial

import pytest

from console.erasing import erase_everything
from shared.db.tenants import erasing
from shared.db.tenants.erasing import NotErasing
from tests.integration.isolation.test_erase_races import ACME, mark_tenant, stores
from tests.integration.pipeline.harness import Harness
from tests.integration.pipeline.test_recording import receive


def test_an_eraser_that_finds_the_tenant_gone_ends_well(harness: Harness) -> None:
    acme = harness.tenant(ACME)
    receive(harness)
    harness.record()
    subject = mark_tenant(harness, acme)

    def erase_first(_: int) -> None:
        erase_everything(stores(harness), subject, lambda _: None)

    erase_everything(stores(harness), subject, erase_first)
    assert harness.sql("SELECT 1 FROM tenants") == []


def test_a_tenant_that_nobody_marked_is_not_deleted(harness: Harness) -> None:
    acme = harness.tenant(ACME)
    with pytest.raises(NotErasing):
        harness.resources.pool.run(partial(erasing.delete_tenant, tenant_id=acme))
    assert harness.one("SELECT name FROM tenants") == "Acme"
