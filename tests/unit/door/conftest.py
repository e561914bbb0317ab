"""A door with a keeper made of a list, and Front's side of it: signed by the recipe, not by our code."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from ingest.app import create_app
from shared.errors import NothingStored
from shared.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from werkzeug.test import TestResponse

    from shared.models import Delivery

KEY = "signing-key"
NOW = 1_786_440_071.456


@dataclass
class Kept:
    """A keeper that remembers; `down` is both stores away."""

    deliveries: list[Delivery] = field(default_factory=list)
    down: bool = False

    def keep(self, delivery: Delivery) -> str:
        if self.down:
            raise NothingStored("intake: away; spool: away")
        self.deliveries.append(delivery)
        return "intake"

    def readiness(self) -> dict[str, str]:
        return {"intake": "writable"}


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def client(kept: Kept) -> Any:
    settings = Settings(front_signing_keys=[KEY, "older-key"], max_body_bytes=10_000)
    return create_app(settings, keeper=kept, now=lambda: NOW).test_client()  # type: ignore[arg-type]


def signed(body: bytes, *, at: str | None = None, key: str = KEY) -> dict[str, str]:
    """Front's two headers."""
    at = at or str(int(NOW * 1000))
    digest = hmac.new(key.encode(), at.encode() + b":" + body, hashlib.sha256).digest()
    return {"X-Front-Request-Timestamp": at, "X-Front-Signature": base64.b64encode(digest).decode()}


@pytest.fixture
def post(client: Any) -> Callable[..., TestResponse]:
    """Send a webhook as Front does; headers given by name replace or join Front's."""

    def post(body: bytes, headers: dict[str, str] | None = None, **signing: str) -> TestResponse:
        sent = {"Content-Type": "application/json", **signed(body, **signing), **(headers or {})}
        response: TestResponse = client.post("/webhooks/front", data=body, headers=sent)
        return response

    return post
