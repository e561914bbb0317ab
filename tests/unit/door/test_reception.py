"""The application as the event loop serves it: neither slow senders nor slow stores hold it up."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from granian.rsgi import ProtocolClosed  # type: ignore[attr-defined]  # the documented name

from ingest.app import create_app
from ingest.door import Door
from ingest.holding import Hold
from ingest.reception import Reception
from ingest.waiting_room import WaitingRoom
from shared.errors import NothingStored
from shared.models import Delivery
from shared.settings import Settings
from tests.unit.door.conftest import KEY, NOW, signed
from tests.unit.door.rsgi import Proto, Scope

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ingest.keeper import Outcome

BODY = b'{"type":"inbound_received"}'


@dataclass
class LateKeeper:
    """A keeper that says what became of deliveries when it is told to, from a thread of its own."""

    waiting: list[tuple[Delivery, Callable[[Outcome], None]]] = field(default_factory=list)

    def submit(self, delivery: Delivery, settle: Callable[[Outcome], None]) -> None:
        self.waiting.append((delivery, settle))

    def settle(self, outcome: Outcome) -> None:
        thread = threading.Thread(target=lambda: [settle(outcome) for _, settle in self.waiting])
        thread.start()
        thread.join()

    def readiness(self) -> dict[str, str]:
        return {"intake": "writable"}


@pytest.fixture
def keeper() -> LateKeeper:
    return LateKeeper()


@pytest.fixture(params=[False, True], ids=["through the application", "straight to the door"])
def door(keeper: LateKeeper, request: pytest.FixtureRequest) -> Reception:
    return a_reception(keeper, straight=request.param)


def a_reception(keeper: LateKeeper, *, straight: bool) -> Reception:
    settings = Settings(front_signing_keys=[KEY], max_body_bytes=10_000)
    app = create_app(settings, keeper=keeper, now=lambda: NOW)  # type: ignore[arg-type]
    own = Door(settings, now=lambda: NOW) if straight else None
    return Reception(app, keeper, max_body_bytes=10_000, door=own)  # type: ignore[arg-type]


def webhook(body: bytes = BODY) -> Scope:
    headers = {name.lower(): value for name, value in signed(body).items()}
    return Scope(headers={"host": "127.0.0.1:8080", **headers, "content-length": str(len(body))})


def run(door: Reception, story: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        door.__rsgi_init__(asyncio.get_running_loop())
        await story()

    asyncio.run(whole())


def ask(door: Reception, scope: Scope, *pieces: bytes | None) -> Proto:
    proto = Proto(*pieces)
    run(door, lambda: door.__rsgi__(scope, proto))  # type: ignore[arg-type]
    return proto


async def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.001)


def test_the_answer_waits_until_the_delivery_is_kept(door: Reception, keeper: LateKeeper) -> None:
    proto = Proto(BODY)

    async def story() -> None:
        task = asyncio.ensure_future(door.__rsgi__(webhook(), proto))  # type: ignore[arg-type]
        await until(lambda: keeper.waiting)
        assert proto.answers == []
        keeper.settle("intake")
        await task

    run(door, story)
    [(status, _, body)] = proto.answers
    assert (status, json.loads(body)) == (200, {"delivery_id": keeper.waiting[0][0].id})


def test_while_one_waits_others_are_answered(door: Reception, keeper: LateKeeper) -> None:
    alive = Proto()

    async def story() -> None:
        task = asyncio.ensure_future(door.__rsgi__(webhook(), Proto(BODY)))  # type: ignore[arg-type]
        await until(lambda: keeper.waiting)
        await door.__rsgi__(Scope(method="GET", path="/livez"), alive)  # type: ignore[arg-type]
        keeper.settle("spool")
        await task

    run(door, story)
    assert [status for status, _, _ in alive.answers] == [200]


def test_what_nobody_kept_is_503_and_to_be_sent_again(door: Reception, keeper: LateKeeper) -> None:
    proto = Proto(BODY)

    async def story() -> None:
        task = asyncio.ensure_future(door.__rsgi__(webhook(), proto))  # type: ignore[arg-type]
        await until(lambda: keeper.waiting)
        keeper.settle(NothingStored("intake: redis://secret; spool: away"))
        await task

    run(door, story)
    [(status, headers, body)] = proto.answers
    assert (status, headers["Retry-After"]) == (503, "5")
    assert b"secret" not in body


def test_a_store_that_never_answers_is_not_waited_for(keeper: LateKeeper) -> None:
    delivery = Delivery(id="0" * 32, received_at=datetime(2026, 8, 11, tzinfo=UTC), body=b"{}")

    async def story() -> tuple[Outcome, Outcome]:
        room = WaitingRoom(asyncio.get_running_loop(), keeper, seconds=0.02)  # type: ignore[arg-type]
        given_up = await room.keep(delivery, Hold())
        keeper.settle("intake")  # too late for the first
        later = asyncio.ensure_future(room.keep(delivery, Hold()))
        await until(lambda: len(keeper.waiting) == 2)
        keeper.settle("intake")
        return given_up, await later

    given_up, later = asyncio.run(story())
    assert isinstance(given_up, NothingStored)
    assert later == "intake"


@pytest.mark.parametrize(
    ("scope", "pieces", "status"),
    [
        (Scope(method="GET", path="/livez"), (), 200),
        (Scope(method="GET", path="/readyz"), (), 200),
        (Scope(method="GET", path="/nowhere"), (), 404),
        (Scope(method="GET"), (), 405),
        (Scope(headers={"content-length": "2"}), (b"{}",), 401),
        (Scope(headers={"content-length": "10001"}), (None,), 413),
        (Scope(headers={"transfer-encoding": "chunked"}), (b"x" * 9_999, b"x" * 9_999, None), 413),
    ],
    ids=["livez", "readyz", "nowhere", "method", "unsigned", "too large", "endless"],
)
def test_what_needs_no_store_is_answered_at_once(
    door: Reception, scope: Scope, pieces: tuple[bytes | None, ...], status: int
) -> None:
    assert [answer[0] for answer in ask(door, scope, *pieces).answers] == [status]


def test_a_body_that_does_not_come_is_408(keeper: LateKeeper) -> None:
    settings = Settings(front_signing_keys=[KEY])
    app = create_app(settings, keeper=keeper)  # type: ignore[arg-type]
    door = Reception(app, keeper, max_body_bytes=10_000, body_seconds=0.02)  # type: ignore[arg-type]
    [(status, _, body)] = ask(door, webhook(), BODY[:5], None).answers
    assert (status, json.loads(body)["code"]) == (408, "body_too_slow")


@dataclass
class BrokenKeeper(LateKeeper):
    """A keeper with a bug."""

    def submit(self, delivery: Delivery, settle: Callable[[Outcome], None]) -> None:
        raise RuntimeError("a secret")

    def readiness(self) -> dict[str, str]:
        raise RuntimeError("a secret")


@pytest.mark.parametrize("scope", [webhook(), Scope(method="GET", path="/readyz")], ids=["outside", "inside"])
def test_a_bug_inside_or_outside_the_application_is_500_and_says_nothing(scope: Scope) -> None:
    settings = Settings(front_signing_keys=[KEY])
    keeper = BrokenKeeper()
    app = create_app(settings, keeper=keeper, now=lambda: NOW)  # type: ignore[arg-type]
    [(status, headers, body)] = ask(
        Reception(app, keeper, max_body_bytes=10_000),  # type: ignore[arg-type]
        scope,
        BODY,
    ).answers
    assert (status, headers["Content-Type"]) == (500, "application/problem+json")
    assert json.loads(body)["code"] == "internal_server_error"
    assert b"secret" not in body


def test_a_sender_that_goes_away_within_the_body_has_sent_a_bad_request(door: Reception) -> None:
    class Gone(Proto):
        async def __call__(self) -> bytes:
            raise ProtocolClosed

    gone = Gone()
    run(door, lambda: door.__rsgi__(webhook(), gone))  # type: ignore[arg-type]
    assert [answer[0] for answer in gone.answers] == [400]


def test_a_sender_that_went_away_gets_no_answer_and_breaks_nothing(door: Reception, keeper: LateKeeper) -> None:
    async def story() -> None:
        task = asyncio.ensure_future(door.__rsgi__(webhook(), Proto(BODY)))  # type: ignore[arg-type]
        await until(lambda: keeper.waiting)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        keeper.settle("intake")
        await asyncio.sleep(0.01)

    run(door, story)
    assert len(keeper.waiting) == 1
