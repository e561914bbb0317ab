"""The prepared webhooks have Front's form."""

from __future__ import annotations

import json

import pytest

from bench.harness.webhooks import signed_requests
from shared.front.signature import verify

KEY = b"signing-key"


def parted(request: bytes) -> tuple[dict[str, str], bytes]:
    head, body = request.split(b"\r\n\r\n", 1)
    lines = head.decode().split("\r\n")[1:]
    return dict(line.split(": ", 1) for line in lines), body


@pytest.mark.parametrize("size", [2_400, 60_000])
def test_a_body_has_the_requested_size(size: int) -> None:
    headers, body = parted(signed_requests(KEY, size)[0])
    assert len(body) == size == int(headers["Content-Length"])


def test_the_door_accepts_the_signature() -> None:
    headers, body = parted(signed_requests(KEY, 2_400)[-1])
    timestamp, signature = headers["X-Front-Request-Timestamp"], headers["X-Front-Signature"]
    assert verify(body, timestamp=timestamp, signature=signature, keys=[KEY]) == 0


def test_no_two_bodies_are_alike() -> None:
    events = [json.loads(parted(request)[1])["payload"]["id"] for request in signed_requests(KEY, 2_400)]
    assert len(set(events)) == len(events) > 1_000
