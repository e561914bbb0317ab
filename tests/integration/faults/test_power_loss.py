"""A power loss removes exactly the bytes that were not synced."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import psutil
import pytest
import redis

from bench.faults.mortal_valkey import MortalValkey

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process watch another one's syncs")
MANY = 200


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[MortalValkey]:
    with MortalValkey(tmp_path) as server:
        yield server


def written(mortal: MortalValkey, fsync: str, names: list[str]) -> None:
    with redis.Redis.from_url(mortal.url) as client:
        client.config_set("appendfsync", fsync)
        for name in names:
            client.set(name, "1")


def names_in(mortal: MortalValkey) -> set[str]:
    with redis.Redis.from_url(mortal.url, decode_responses=True) as client:
        return set(client.keys())


def test_a_synced_write_survives(mortal: MortalValkey) -> None:
    names = [f"kept-{number}" for number in range(MANY)]
    written(mortal, "always", names)
    mortal.lose_power()
    mortal.start()
    assert names_in(mortal) == set(names)


def test_an_unsynced_write_is_gone(mortal: MortalValkey) -> None:
    written(mortal, "always", ["kept"])
    written(mortal, "no", ["gone"])
    bytes_gone = mortal.lose_power()
    mortal.start()
    assert names_in(mortal) == {"kept"}
    assert bytes_gone > 0


def test_it_can_lose_its_power_again(mortal: MortalValkey) -> None:
    for number in range(3):
        written(mortal, "always", [f"kept-{number}"])
        written(mortal, "no", ["gone"])
        mortal.lose_power()
        mortal.start()
    assert names_in(mortal) == {"kept-0", "kept-1", "kept-2"}


def test_a_server_whose_syncs_nobody_watches_any_more_ends(mortal: MortalValkey, tmp_path: Path) -> None:
    record = str(tmp_path / "durable")
    [watcher] = [each for each in psutil.process_iter(["cmdline"]) if record in (each.info["cmdline"] or ())]
    watcher.kill()
    with pytest.raises(redis.ConnectionError):
        written(mortal, "always", ["kept"])
