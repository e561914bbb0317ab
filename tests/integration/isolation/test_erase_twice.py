"""Two people erase the same tenant at once: it is gone, and that is what both are told."""

from __future__ import annotations

from functools import partial

import pytest

from console.erasing import erase_everything
from shared.db.tenants import erasing
from shared.db.tenants.erasing import NotErasing
from tests.integration.isolation.test_erase_races import ACME, mark, places
from tests.integration.pipeline.rig import Rig
from tests.integration.pipeline.test_recording import receive


def test_who_finds_the_tenant_gone_in_the_middle_ends_well(rig: Rig) -> None:
    acme = rig.tenant(ACME)
    receive(rig)
    rig.record()
    subject = mark(rig, acme)

    def another_is_faster(_: int) -> None:
        erase_everything(places(rig), subject, lambda _: None)

    erase_everything(places(rig), subject, another_is_faster)
    assert rig.sql("SELECT 1 FROM tenants") == []


def test_a_tenant_that_nobody_marked_is_not_deleted(rig: Rig) -> None:
    acme = rig.tenant(ACME)
    with pytest.raises(NotErasing):
        rig.resources.pool.run(partial(erasing.delete_tenant, tenant_id=acme))
    assert rig.one("SELECT name FROM tenants") == "Acme"
