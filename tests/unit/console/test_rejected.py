"""Each reason for which the door rejects a request has words, and many wrong signatures raise an alarm."""

from __future__ import annotations

import pytest

from console.rejected import TEXTS, is_alarming
from shared.errors import ComeBack, Refused

OF_HTTP = {"not_found", "method_not_allowed", "bad_request", "internal_server_error"}


def test_each_reason_has_words() -> None:
    assert set(TEXTS) == {kind.code for parent in (Refused, ComeBack) for kind in parent.__subclasses__()} | OF_HTTP


@pytest.mark.parametrize(
    ("wrong", "received", "alarming"),
    [(0, 0, False), (4, 0, False), (5, 0, True), (5, 45, True), (5, 46, False), (10_000, 1_000_000, False)],
)
def test_wrong_signatures_alarm_by_number_and_share(wrong: int, received: int, alarming: bool) -> None:
    assert is_alarming(wrong, received=received) is alarming
