"""The peers refuse what the door refuses: a comparison with a door that lets everybody in is none."""

from __future__ import annotations

import time

import pytest

from bench.door.webhooks import signed_requests
from bench.peers import checks


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> tuple[bytes, str, str]:
    monkeypatch.setattr(checks, "KEY", b"key")
    head, body = signed_requests(b"key", 2_400)[0].split(b"\r\n\r\n", 1)
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    return body, headers["X-Front-Request-Timestamp"], headers["X-Front-Signature"]


def test_a_signed_webhook_is_accepted(webhook: tuple[bytes, str, str]) -> None:
    assert checks.accepted(*webhook)


def test_a_changed_body_is_not(webhook: tuple[bytes, str, str]) -> None:
    body, timestamp, signature = webhook
    assert not checks.accepted(body + b" ", timestamp, signature)


@pytest.mark.parametrize("seconds", [1_000, -100])
def test_a_timestamp_out_of_the_window_is_not(
    webhook: tuple[bytes, str, str], seconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + seconds)
    assert not checks.accepted(*webhook)
