"""Straight to the door or through the application: no request is answered, kept, counted or logged differently."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from ingest.app import create_app
from ingest.door import Door
from ingest.plain import headers_of_webhook
from ingest.reception import Reception
from shared.errors import NothingStored
from shared.settings import Settings
from tests.unit.door.conftest import KEY, NOW
from tests.unit.door.requests import LIMIT, requests

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.keeper import Outcome
    from shared.models import Delivery
    from tests.unit.door.requests import Request

OUTCOMES: list[Outcome] = ["intake", "spool", NothingStored("intake: away; spool: away")]


@dataclass
class Keeping:
    """A keeper that says at once what became of a delivery."""

    outcome: Outcome = "intake"
    deliveries: list[Delivery] = field(default_factory=list)

    def submit(self, delivery: Delivery, settle: Callable[[Outcome], None]) -> None:
        self.deliveries.append(delivery)
        settle(self.outcome)

    def readiness(self) -> dict[str, str]:
        return {"intake": "writable"}


@dataclass(frozen=True, kw_only=True)
class Seen:
    """All that anybody can see of how a request was taken; delivery ids are chosen by dice and left out."""

    answers: list[tuple[int, dict[str, str], str]]
    kept: list[tuple[Any, ...]]
    counted: Counter[Any]
    logged: list[dict[str, Any]]


class Way:
    """One way into the door; made once, for making an application takes longer than a request."""

    def __init__(self, *, straight: bool) -> None:
        ours = Settings(front_signing_keys=[KEY, "older-key"], max_body_bytes=LIMIT)
        self.keeper = Keeping()
        app = create_app(ours, keeper=self.keeper, now=lambda: NOW)  # type: ignore[arg-type]
        own = Door(ours, now=lambda: NOW) if straight else None
        self.reception = Reception(app, self.keeper, max_body_bytes=LIMIT, door=own)  # type: ignore[arg-type]

    def take(self, request: Request, outcome: Outcome) -> Seen:
        self.keeper.outcome, self.keeper.deliveries = outcome, []
        proto, before = request.proto(), counts()

        async def story() -> None:
            self.reception.__rsgi_init__(asyncio.get_running_loop())
            await self.reception.__rsgi__(request.scope, proto)  # type: ignore[arg-type]

        with capture_logs() as logged:
            asyncio.run(story())
        ids = [delivery.id for delivery in self.keeper.deliveries]
        return Seen(
            answers=[(status, headers, without(ids, body)) for status, headers, body in proto.answers],
            kept=[(delivery.received_at, delivery.body) for delivery in self.keeper.deliveries],
            counted=counts() - before,
            logged=[{name: value for name, value in line.items() if value not in ids} for line in logged],
        )


STRAIGHT, THROUGH = Way(straight=True), Way(straight=False)


def counts() -> Counter[Any]:
    """Every number of ours but how long things took."""
    samples = [sample for metric in REGISTRY.collect() for sample in metric.samples]
    return Counter(
        {
            (sample.name, *sorted(sample.labels.items())): int(sample.value)
            for sample in samples
            if sample.name.startswith("mailroom_") and sample.name.endswith(("_total", "_count"))
        }
    )


def without(ids: list[str], body: bytes) -> str:
    text = body.decode()
    for each in ids:
        text = text.replace(each, "the delivery's id")
    return text


@given(request=requests(), outcome=st.sampled_from(OUTCOMES))
@settings(max_examples=400, deadline=None)
def test_both_ways_see_every_request_alike(request: Request, outcome: Outcome) -> None:
    assert STRAIGHT.take(request, outcome) == THROUGH.take(request, outcome)


def test_the_requests_that_are_compared_take_both_ways_to_every_end() -> None:
    """Otherwise nothing is compared."""
    ends = set()

    @given(request=requests(), outcome=st.sampled_from(OUTCOMES))
    @settings(max_examples=400, deadline=None, derandomize=True)
    def take(request: Request, outcome: Outcome) -> None:
        plain = headers_of_webhook(request.scope, request.body) is not None  # type: ignore[arg-type]
        ends.add((plain, STRAIGHT.take(request, outcome).answers[0][0]))

    take()
    assert ends >= {(plain, status) for plain in (True, False) for status in (200, 401, 503)}
