"""Any request gets one answer, only signed webhooks are kept, and only kept ones are acknowledged."""

from __future__ import annotations

import asyncio

from hypothesis import event, given, settings
from hypothesis import strategies as st

from tests.unit.door.conftest import ListKeeper, door_with
from tests.unit.door.requests import LIMIT, Request, requests
from tests.unit.door.rsgi import Answer

KEEPER = ListKeeper()
DOOR = door_with(KEEPER, max_bytes=LIMIT)  # made once, because making it takes longer than a request
REFUSALS = {400, 401, 404, 405, 413, 415}


def send(request: Request, *, down: bool) -> Answer:
    KEEPER.down, KEEPER.deliveries, proto = down, [], request.proto()
    asyncio.run(DOOR.__rsgi__(request.scope, proto))  # type: ignore[arg-type]
    [answer] = proto.answers
    return answer


@given(request=requests(), down=st.booleans())
@settings(max_examples=400, deadline=None)
def test_no_odd_request_is_acknowledged_without_being_kept(request: Request, down: bool) -> None:
    answer = send(request, down=down)
    event(f"{answer.status}")
    assert answer.status in {200, 503} | REFUSALS
    if KEEPER.deliveries:
        [delivery] = KEEPER.deliveries
        assert (answer.status, answer.json, delivery.body) == (200, {"delivery_id": delivery.id}, request.body)
    else:
        assert b"delivery_id" not in answer.body
    if answer.status != 200 and request.scope.method != "HEAD":
        assert (answer.mimetype, answer.json["status"]) == ("application/problem+json", answer.status)


def test_the_generated_requests_reach_every_outcome() -> None:
    """Without this, the property above could pass on refusals alone."""
    ends = set()

    @given(request=requests(), down=st.booleans())
    @settings(max_examples=400, deadline=None, derandomize=True)
    def send_one(request: Request, down: bool) -> None:
        ends.add(send(request, down=down).status)

    send_one()
    assert ends >= {200, 401, 404, 405, 503}
