"""Every setting is an option of `serve`."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox.settings import SandboxSettings, read_settings

NEEDED = ["serve", "--door", "http://127.0.0.1:8080/webhooks/front", "--signing-key", "K"]


def test_the_defaults_are_fronts_limits() -> None:
    expected = SandboxSettings(door="http://127.0.0.1:8080/webhooks/front", signing_key="K")
    assert read_settings(NEEDED) == expected
    assert (expected.requests_per_minute, expected.burst_per_second, expected.tries) == (120, 5, 3)


def test_each_option_has_the_type_of_its_setting() -> None:
    given = ["--port", "0", "--latency-ms", "80", "--seed", "7", "--data", "here", "--echo", "--retry-seconds", "0.5"]
    settings = read_settings(NEEDED + given)
    assert (settings.port, settings.latency_ms, settings.seed) == (0, 80.0, 7)
    assert (settings.data, settings.echo, settings.retry_seconds) == (Path("here"), True, 0.5)


def test_the_door_is_required(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read_settings(["serve"])
    assert "--door" in capsys.readouterr().err
