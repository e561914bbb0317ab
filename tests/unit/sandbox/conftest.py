"""A company in a world of its own, without a server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sandbox.bodies import Bodies
from sandbox.founding import found
from sandbox.ids import Ids
from sandbox.models import Company
from sandbox.orders import read_order
from sandbox.staging import Stage, Staged
from sandbox.world import World

Play = Callable[..., Staged]


@pytest.fixture
def world() -> World:
    return World(Ids(36**6))


@pytest.fixture
def company(world: World) -> Company:
    return world.companies.setdefault("cmp_kettle", found("cmp_kettle", "Blue Kettle"))


@pytest.fixture
def bodies(company: Company) -> Bodies:
    return Bodies("http://front.example", company)


@pytest.fixture
def play(world: World, company: Company) -> Play:
    """Let an ordered event happen."""

    def play(application_type: str = "inbound_received", **words: Any) -> Staged:
        order = read_order({"type": application_type, "company": company.id, **words})
        stage = Stage(
            world=world,
            company=company,
            order=order,
            at=order.emitted_at or 1786440070.93,
            now=1786440071.0,
            elsewhere="http://elsewhere.example",
        )
        return stage.play(application_type)

    return play
