"""A company in a sandbox world of its own, without a server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sandbox.event_factory import EventFactory
from sandbox.models import Company, IdSequence, WebhookEvent
from sandbox.sample_data import sample_company
from sandbox.send_request import read_send_request
from sandbox.serializers import Serializer
from sandbox.world import World

MakeEvent = Callable[..., WebhookEvent]


@pytest.fixture
def world() -> World:
    return World(IdSequence(36**6))


@pytest.fixture
def company(world: World) -> Company:
    return world.companies.setdefault("cmp_kettle", sample_company("cmp_kettle", "Blue Kettle"))


@pytest.fixture
def serializer(company: Company) -> Serializer:
    return Serializer("http://front.example", company)


@pytest.fixture
def make_event(world: World, company: Company) -> MakeEvent:
    """Return a function that makes the requested event happen in the world."""

    def make(webhook_type: str = "inbound_received", **words: Any) -> WebhookEvent:
        request = read_send_request({"type": webhook_type, "company": company.id, **words})
        factory = EventFactory(
            world=world,
            company=company,
            request=request,
            at=request.emitted_at or 1786440070.93,
            now=1786440071.0,
            elsewhere="http://elsewhere.example",
        )
        return factory.make(webhook_type)

    return make
