"""A door whose keeper is a list, and webhooks signed by Front's published recipe instead of our code."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from ingest.app import create_app
from ingest.server import Bodies, Server
from shared.errors import NothingStored
from shared.process.private_port import shown_on_public_port
from shared.settings import Settings
from tests.unit.door.rsgi import Scope, ask

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.models import Delivery
    from tests.unit.door.rsgi import Answer

KEY = "signing-key"
NOW = 1_786_440_071.456
MAX_BYTES = 10_000


@dataclass
class ListKeeper:
    """A keeper that stores deliveries in a list. `down` means that both stores are away; `bug` is raised."""

    deliveries: list[Delivery] = field(default_factory=list)
    down: bool = False
    bug: Exception | None = None

    async def keep(self, delivery: Delivery) -> str:
        if self.bug:
            raise self.bug
        if self.down:
            raise NothingStored("intake: redis://secret; spool: away")
        self.deliveries.append(delivery)
        return "intake"

    async def stores(self) -> dict[str, bool]:
        if self.bug:
            raise self.bug
        return {"intake": False, "spool": False} if self.down else {"intake": True}

    async def schema_problem(self) -> str | None:
        return None


@pytest.fixture
def kept() -> ListKeeper:
    return ListKeeper()


@pytest.fixture
def door(kept: ListKeeper) -> Server:
    return door_with(kept)


def door_with(
    keeper: object, *, max_bytes: int = MAX_BYTES, body_seconds: float = 10.0, metrics_port: int | None = None
) -> Server:
    settings = Settings(front_signing_keys=[KEY, "older-key"], metrics_port=metrics_port)
    app = create_app(settings, now=lambda: NOW)
    return Server(
        app,
        keeper,  # type: ignore[arg-type]
        Bodies(limit=max_bytes, seconds=body_seconds, drain_seconds=0.01),
        shows_metrics=shown_on_public_port(settings),
    )


def signed(body: bytes, *, at: str | None = None, key: str = KEY) -> dict[str, str]:
    """Return Front's two headers for this body."""
    at = at or str(int(NOW * 1000))
    digest = hmac.new(key.encode(), at.encode() + b":" + body, hashlib.sha256).digest()
    return {"X-Front-Request-Timestamp": at, "X-Front-Signature": base64.b64encode(digest).decode()}


def webhook(body: bytes, headers: dict[str, str] | None = None, **signing: str) -> Scope:
    """Return a webhook as Front sends it; `headers` replace Front's or are added to them."""
    sent = {"Host": "127.0.0.1:8080", "Content-Type": "application/json", **signed(body, **signing), **(headers or {})}
    return Scope(headers={name.lower(): value for name, value in sent.items()} | {"content-length": str(len(body))})


@pytest.fixture
def post(door: Server) -> Callable[..., Answer]:
    """Send a webhook as Front does."""

    def post(body: bytes, headers: dict[str, str] | None = None, **signing: str) -> Answer:
        return ask(door, webhook(body, headers, **signing), body)

    return post


@pytest.fixture
def get(door: Server) -> Callable[..., Answer]:
    """Send a request without a body."""

    def get(path: str, method: str = "GET") -> Answer:
        return ask(door, Scope(method=method, path=path, headers={"host": "127.0.0.1:8080"}))

    return get
