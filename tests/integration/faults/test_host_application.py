"""The host application of the fault suite answers as it is told to, and remembers what it took."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
import requests

from bench.harness.host_application import ELSEWHERE, HostApplication
from bench.harness.notifications import notification
from bench.harness.platform import Platform, base_environment
from shared.host.signature import encode_secret, signed_headers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRET = encode_secret(bytes(range(32)))


@pytest.fixture
def host(tmp_path: Path) -> Iterator[HostApplication]:
    with Platform(base_environment(), tmp_path) as platform:
        running = HostApplication(platform, tmp_path, "host")
        running.secret = SECRET
        running.start()
        yield running


def post(host: HostApplication, *, secret: str = SECRET, timeout: float = 30, **how: Any) -> requests.Response:
    """Send a notification as Mailroom does."""
    made = notification()
    body = made.body.encode()
    headers = signed_headers(made.id, int(time.time()), body, [secret])
    return requests.post(host.url, body, headers=dict(headers), timeout=timeout, **how)


def test_it_takes_a_notification_and_judges_its_signature(host: HostApplication) -> None:
    assert post(host).status_code == 204
    assert post(host, secret=encode_secret(bytes(32))).status_code == 204
    assert [each.verified for each in host.taken()] == [True, False]
    assert host.count() == 2


def test_it_fails_as_it_is_told_to(host: HostApplication) -> None:
    host.behave(status=410)
    assert post(host).status_code == 410
    host.behave(status=0)
    with pytest.raises(requests.ConnectionError):
        post(host)
    host.behave(hangs=True)
    with pytest.raises(requests.Timeout):
        post(host, timeout=1)
    host.behave()
    assert post(host).ok
    assert len(host.taken()) == 1


def test_a_redirect_that_is_followed_is_seen(host: HostApplication) -> None:
    host.behave(redirects=True)
    assert post(host, allow_redirects=False).status_code == 307
    with pytest.raises(requests.TooManyRedirects):
        post(host)
    assert ELSEWHERE in {each.path for each in host.requests()}


def test_it_is_away_when_it_was_stopped_and_remembers_what_it_took(host: HostApplication) -> None:
    post(host)
    host.stop()
    with pytest.raises(requests.ConnectionError):
        post(host)
    host.start()
    post(host)
    assert len(host.taken()) == 2


def test_a_worker_with_shorter_waits_has_the_whole_schedule_divided() -> None:
    script = (
        "from workers.notifying import decisions as d; before = [*d.SCHEDULE, d.FIRST_PROBE, d.HELD_AFTER_SECONDS];"
        "import bench.harness.short_schedule, json;"
        "print(json.dumps([before, [*d.SCHEDULE, d.FIRST_PROBE, d.HELD_AFTER_SECONDS]]))"
    )
    environment = {**os.environ, "WAITS_DIVIDED_BY": "60"}
    shown = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    before, after = json.loads(shown.stdout)
    assert after == pytest.approx([seconds / 60 for seconds in before])
