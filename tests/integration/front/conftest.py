"""A client of the sandbox, and raw servers that record all requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import requests

from sandbox.server import RunningSandbox, start_in_thread
from sandbox.settings import SandboxSettings
from shared.connection.budget import Budget
from shared.front.client import FrontClient, TenantClient
from shared.http.transport import CallDeadlines
from shared.models import Token
from tests.integration.front.peers import Peer

Fault = Callable[..., None]
# Short, but long enough for an answer on a busy machine.
SHORT = CallDeadlines(call=3.0, pages=6.0, file=3.0, bytes_per_second=2**20)


def token(name: str = "canary-token", company_id: str = "cmp_1") -> Token:
    """Return a tenant's token as the vault does."""
    return Token(tenant_id=1, company_id=company_id, version=1, access_token=name)


@pytest.fixture
def sandbox() -> Iterator[RunningSandbox]:
    """A sandbox with one company, one conversation, one message and one file of 600,000 bytes."""
    settings = SandboxSettings(
        door="http://127.0.0.1:9", signing_key="key", port=0, requests_per_minute=0, burst_per_second=0
    )
    running = start_in_thread(settings)
    control(running, "companies", {"id": "cmp_1", "name": "Acme", "api_token": token().access_token})
    order = {
        "type": "inbound_received",
        "company": "cmp_1",
        "conversation": "cnv_1",
        "message": "msg_1",
        "attachments": [{"id": "fil_1", "size": 600_000}],
        "deliver": False,
    }
    control(running, "send", order)
    yield running
    running.stop()


@pytest.fixture
def fault(sandbox: RunningSandbox) -> Fault:
    """Add one fault to the sandbox."""
    return lambda kind, **rule: control(sandbox, "faults", {"kind": kind, **rule})


@pytest.fixture
def budget(redis_db: str) -> Budget:
    return Budget.from_url(redis_db, default_per_minute=100_000)


@pytest.fixture
def client(sandbox: RunningSandbox, budget: Budget) -> TenantClient:
    """A client of company `cmp_1` at the sandbox; a call has three seconds."""
    return FrontClient(sandbox.url, budget, deadlines=SHORT).for_tenant(token())


@pytest.fixture
def at(budget: Budget) -> Callable[[str], TenantClient]:
    """Return a client for any URL; a call has three seconds."""
    return lambda url: FrontClient(url, budget, deadlines=SHORT).for_tenant(token())


@pytest.fixture
def peer() -> Iterator[Callable[..., Peer]]:
    """Start raw servers with the replies of a test."""
    with ExitStack() as stack:
        yield lambda *script, **options: stack.enter_context(Peer(*script, **options))


def control(sandbox: RunningSandbox, what: str, body: dict[str, Any]) -> None:
    """Send a control request to the sandbox."""
    requests.post(f"{sandbox.url}/sandbox/{what}", json=body, timeout=5).raise_for_status()
