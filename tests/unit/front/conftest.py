"""A tenant's client, and a mock of Front with the answers that a test gives."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fakeredis
import pytest
import responses

from shared.connection.budget import Budget
from shared.front.client import FrontClient, TenantClient
from shared.models import Token

API = "https://api2.frontapp.com"
TOKEN = Token(tenant_id=1, company_id="cmp_4k2p9", version=1, access_token="canary-token")


@pytest.fixture
def front_answer() -> Callable[[str], Any]:
    """Return a function that reads one of Front's own, complete answers."""
    return lambda name: json.loads((Path(__file__).parent / "answers" / f"{name}.json").read_text())


@pytest.fixture
def front() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock() as mock:
        yield mock


@pytest.fixture
def budget() -> Budget:
    return Budget(fakeredis.FakeRedis())


@pytest.fixture
def client(budget: Budget) -> TenantClient:
    return FrontClient(API, budget).for_tenant(TOKEN)
