"""Bodies are collected up to the limit, and large ones only while there is room."""

from __future__ import annotations

import asyncio

import pytest

from ingest.server import SMALL, Bodies
from shared.errors import BodyTooLarge, DoorFull
from tests.unit.door.rsgi import Proto, Scope, chunked, sent_whole

LIMIT = 10 * SMALL
LARGE = b"x" * (2 * SMALL)


@pytest.fixture
def bodies() -> Bodies:
    return Bodies(limit=LIMIT, together=4 * SMALL)


def collect(bodies: Bodies, request: tuple[Scope, Proto]) -> bytes:
    scope, proto = request
    return asyncio.run(bodies.collect(scope, proto))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("request_", "body"),
    [
        (sent_whole(b"{}"), b"{}"),
        (sent_whole(LARGE), LARGE),
        (chunked(b"{", b"}"), b"{}"),
        (chunked(LARGE[:5], LARGE[5:]), LARGE),
        # A GET has no body and is not asked for one
        ((Scope(method="GET"), Proto(None)), b""),
    ],
    ids=["small", "large", "chunked", "large chunked", "none"],
)
def test_a_body_is_collected_as_it_was_sent(bodies: Bodies, request_: tuple[Scope, Proto], body: bytes) -> None:
    assert collect(bodies, request_) == body


def test_a_body_announced_over_the_limit_is_not_read(bodies: Bodies) -> None:
    with pytest.raises(BodyTooLarge):
        collect(bodies, (Scope(headers={"content-length": str(LIMIT + 1)}), Proto(None)))


def test_an_endless_body_is_read_to_just_behind_the_limit() -> None:
    scope, proto = chunked(*[b"x" * SMALL] * 100)
    bodies = Bodies(limit=LIMIT, together=LIMIT + 2 * SMALL)
    for _ in range(2):  # its room is free again
        with pytest.raises(BodyTooLarge):
            collect(bodies, (scope, proto))
    assert 2 * LIMIT < proto.taken < 2 * (LIMIT + 2 * SMALL)


def test_large_bodies_have_a_room_of_their_own(bodies: Bodies) -> None:
    held = [collect(bodies, sent_whole(LARGE)) for _ in range(2)]
    with pytest.raises(DoorFull):
        collect(bodies, sent_whole(LARGE))
    assert collect(bodies, sent_whole(b"{}")) == b"{}"
    for body in held:
        bodies.release(body)
    assert collect(bodies, sent_whole(LARGE)) == LARGE


def test_a_body_that_is_given_up_leaves_its_room() -> None:
    bodies = Bodies(limit=LIMIT, together=3 * SMALL)

    async def give_up() -> None:
        scope, _ = chunked()
        task = asyncio.create_task(bodies.collect(scope, Proto(LARGE, None)))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(give_up())
    assert collect(bodies, sent_whole(LARGE)) == LARGE
