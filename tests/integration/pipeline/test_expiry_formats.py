"""A token is refreshed once before its expiry, with each format in which Front gives the expiry."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.connection.tokens import current_token
from shared.front.oauth import TokenEndpoint
from tests.integration.front.peers import Peer, answer
from tests.integration.pipeline.harness import Harness
from tests.integration.pipeline.oauth import EXPIRE_TOKENS, connect_by_oauth

ACME = "cmp_acme"
#: The lifetime in Front's answer, and our default of an hour.
SAID, UNSAID = 1800, 3600
#: Leaves less than five minutes until the expiry.
LATER = """
    UPDATE connections SET updated_at = updated_at - (expires_at - now() - interval '290 s'),
        expires_at = now() + interval '290 s'
"""


def ends() -> float:
    return time.time() + SAID


FORMATS: dict[str, Any] = {
    "seconds": lambda: {"expires_at": int(ends())},
    "seconds with a fraction": lambda: {"expires_at": ends()},
    "milliseconds": lambda: {"expires_at": int(ends() * 1000)},
    "ISO": lambda: {"expires_at": datetime.fromtimestamp(ends(), UTC).isoformat()},
    "ISO with Z": lambda: {"expires_at": datetime.fromtimestamp(ends(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")},
    "text of seconds": lambda: {"expires_at": str(int(ends()))},
    "expires_in": lambda: {"expires_in": SAID},
    "absent": dict,
    "null": lambda: {"expires_at": None},
}


@pytest.fixture
def tenant(harness: Harness) -> int:
    """Add a tenant with an expired token."""
    tenant = harness.tenant(ACME)
    connect_by_oauth(harness, tenant, ACME)
    harness.sql(EXPIRE_TOKENS)
    return tenant


@contextmanager
def endpoint(harness: Harness, said: dict[str, Any]) -> Iterator[Peer]:
    """Run a token endpoint that gives this expiry."""
    tokens = {"access_token": "a-new-token", "refresh_token": "a-new-refresh-token", **said}
    with Peer(answer(body=json.dumps(tokens).encode(), content_type="application/json")) as peer:
        own = TokenEndpoint(peer.url, client_id="app", client_secret="app-secret")
        object.__setattr__(harness.resources, "token_endpoint", own)
        yield peer


@pytest.mark.parametrize("said", FORMATS)
def test_the_end_of_a_token_is_understood_from_the_answer_to_the_next_refresh(
    harness: Harness, tenant: int, said: str
) -> None:
    with endpoint(harness, FORMATS[said]()) as peer:
        for _ in range(3):
            assert current_token(harness.resources, tenant).access_token == "a-new-token"
        assert len(peer.requests) == 1
        expected = UNSAID if said in {"absent", "null"} else SAID
        assert (
            expected - 200
            < harness.one("SELECT extract(epoch FROM expires_at - now())::int FROM connections")
            <= expected
        )
        harness.sql(LATER)
        for _ in range(3):
            current_token(harness.resources, tenant)
        assert len(peer.requests) == 2
