"""A request to send is checked field by field."""

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
        {"attachments": ["a.pdf"]},
        {"attachments": [{"fault": "500"}]},
        {"merges": [1]},
        {"merges": ["cnv_1"], "conversation": "cnv_1"},
        # A forged webhook must have no effect
        {"fault": "bad_signature", "expect": "archived"},
        {"fault": "sync_without_challenge", "expect": "archived"},
    ],
)
def test_an_invalid_request_is_refused(words: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        read_send_request(PLAIN | words)


def test_a_recipient_has_the_role_to_by_default() -> None:
    request = read_send_request(PLAIN | {"recipients": [{"handle": "Ines@kettle.example"}]})
    assert request.recipients
    assert [(each.handle, each.role) for each in request.recipients] == [("Ines@kettle.example", "to")]


@pytest.mark.parametrize(
    ("fault", "forged"),
    [("bad_signature", True), ("unknown_company", True), ("stale", False), (None, False)],
)
def test_a_webhook_that_front_would_never_send_is_forged(fault: str | None, forged: bool) -> None:
    assert read_send_request(PLAIN | {"fault": fault}).is_forged is forged
