"""Whatever is sent: one answer, nothing kept but what Front signed, and nothing acknowledged but what is kept."""

from __future__ import annotations

import asyncio

from hypothesis import event, given, settings
from hypothesis import strategies as st

from tests.unit.door.conftest import Kept, a_door
from tests.unit.door.requests import LIMIT, Request, requests
from tests.unit.door.rsgi import Answer

KEPT = Kept()
DOOR = a_door(KEPT, max_bytes=LIMIT)  # made once, for making an application takes longer than a request
REFUSALS = {400, 401, 404, 405, 413, 415}


def take(request: Request, *, down: bool) -> Answer:
    KEPT.down, KEPT.deliveries, proto = down, [], request.proto()
    asyncio.run(DOOR.__rsgi__(request.scope, proto))  # type: ignore[arg-type]
    [answer] = proto.answers
    return answer


@given(request=requests(), down=st.booleans())
@settings(max_examples=400, deadline=None)
def test_no_odd_request_is_acknowledged_without_being_kept(request: Request, down: bool) -> None:
    answer = take(request, down=down)
    event(f"{answer.status}")
    assert answer.status in {200, 503} | REFUSALS
    if KEPT.deliveries:
        [delivery] = KEPT.deliveries
        assert (answer.status, answer.json, delivery.body) == (200, {"delivery_id": delivery.id}, request.body)
    else:
        assert b"delivery_id" not in answer.body
    if answer.status != 200 and request.scope.method != "HEAD":
        assert (answer.mimetype, answer.json["status"]) == ("application/problem+json", answer.status)


def test_the_requests_that_are_made_up_come_to_every_end() -> None:
    """Otherwise the property above says nothing."""
    ends = set()

    @given(request=requests(), down=st.booleans())
    @settings(max_examples=400, deadline=None, derandomize=True)
    def take_one(request: Request, down: bool) -> None:
        ends.add(take(request, down=down).status)

    take_one()
    assert ends >= {200, 401, 404, 405, 503}
