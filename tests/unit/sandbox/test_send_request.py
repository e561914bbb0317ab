"""What may be ordered, and what an order comes to."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.http_messages import BadRequest
from sandbox.send_request import read_send_request

PLAIN = {"type": "inbound_received", "company": "cmp_a"}


@pytest.mark.parametrize(
    "words",
    [
        {"type": "inbound"},
        {"company": None},
        {"colour": "red"},
        {"count": "three"},
        {"count": True},
        {"threads": 0},
        {"fault": "made_up"},
        {"expect": "read"},
        {"expect": "tag:red"},
        {"recipients": [{"role": "to"}]},
        {"recipients": [{"handle": "a@b.example", "role": "boss"}]},
        # Nothing may be expected of a forgery
        {"fault": "bad_signature", "expect": "archived"},
    ],
)
def test_an_order_that_makes_no_sense_is_refused(words: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        read_send_request(PLAIN | words)


def test_a_recipient_is_addressed_to_unless_said_otherwise() -> None:
    order = read_send_request(PLAIN | {"recipients": [{"handle": "Ines@kettle.example"}]})
    assert order.recipients
    assert [(each.handle, each.role) for each in order.recipients] == [("Ines@kettle.example", "to")]


@pytest.mark.parametrize(
    ("fault", "forged"),
    [("bad_signature", True), ("unknown_company", True), ("stale", False), (None, False)],
)
def test_what_front_never_sent_is_forged(fault: str | None, forged: bool) -> None:
    assert read_send_request(PLAIN | {"fault": fault}).is_forged is forged
