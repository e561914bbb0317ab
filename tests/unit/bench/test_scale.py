"""What is drained, and what is said of it."""

from __future__ import annotations

import json
import zlib

import pytest

from bench.scale.drain import Moment, Stretch
from bench.scale.envelopes import padded_deliveries
from shared.front.envelope import parse_envelope


@pytest.fixture(scope="module")
def bodies() -> list[bytes]:
    return [each.body for each in padded_deliveries(50, addresses=10_000, seed=1)]


def test_padded_webhooks_are_such_as_front_sends(bodies: list[bytes]) -> None:
    assert {len(parse_envelope(body).message.recipients) for body in bodies} == {5}  # type: ignore[union-attr]


def test_their_text_hardly_gets_smaller(bodies: list[bytes]) -> None:
    texts = [json.loads(body)["payload"]["target"]["data"]["text"].encode() for body in bodies]
    assert min(len(zlib.compress(text)) / len(text) for text in texts) > 0.7


def test_a_stretch_is_judged_between_its_moments() -> None:
    begun = Moment(waiting=5_000, at=1.0, cpu_seconds=0.5)
    ended = Moment(waiting=4_000, at=3.0, cpu_seconds=1.0)
    found = Stretch(depth=5_100, begun=begun, ended=ended)
    assert (found.per_second, found.cpu_us_per_event) == (500.0, 500.0)
