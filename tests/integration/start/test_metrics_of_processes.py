"""Every process of the Procfile shows metrics on a port of its own, and says which."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
import requests

from bench.harness.ports import free_port
from tests.integration.start.conftest import wait_until
from tests.promtool import check_metrics

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.start.conftest import Started

    Start = Callable[..., Started]

PROCFILE = (Path(__file__).parents[3] / "Procfile").read_text()
KINDS = ("console", "recorder", "sweeper", "worker")
#: Of each process one metric that no other has.
OWN = {
    "door": "mailroom_door_seconds_count",
    "console": 'mailroom_queue_depth{queue="intake"}',
    "recorder": "mailroom_record_chunk_seconds_count",
    "sweeper": 'mailroom_sweep_seconds_count{job="dispatch"}',
    "worker": "mailroom_record_chunk_seconds_count",
}


@pytest.fixture
def ports(start: Start, given_servers: dict[str, str]) -> dict[str, int]:
    """Start all processes; return the port of the metrics of each."""
    door = free_port()
    start(PROCFILE, CONSOLE_PORT=str(free_port()), METRICS_PORT=str(door), STORAGE_URL="", **given_servers)
    url = given_servers["DATABASE_URL"]
    wait_until(lambda: set(registered(url)) == set(KINDS), "all processes are registered")
    wait_until(lambda: answers(door), "the door answers")
    return {"door": door, **registered(url)}


def registered(url: str) -> dict[str, int]:
    with psycopg.connect(url) as conn:
        return dict(conn.execute("SELECT kind, metrics_port FROM processes WHERE metrics_port IS NOT NULL").fetchall())


def answers(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/livez", timeout=5).ok
    except requests.ConnectionError:
        return False


def test_each_process_has_sound_metrics_of_its_own(ports: dict[str, int]) -> None:
    shown = {kind: requests.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text for kind, port in ports.items()}
    assert {kind: f'mailroom_build_info{{kind="{kind}"' in text for kind, text in shown.items()} == dict.fromkeys(
        OWN, True
    )
    assert {kind: OWN[kind] in text for kind, text in shown.items()} == dict.fromkeys(OWN, True)
    assert {kind: check_metrics(text) for kind, text in shown.items()} == dict.fromkeys(OWN, "")
    assert "mailroom_door_seconds" not in shown["worker"]
    assert {kind: requests.get(f"http://127.0.0.1:{port}/readyz", timeout=10).json()["ready"] for kind, port in
            ports.items()} == dict.fromkeys(OWN, True)  # fmt: skip


def test_the_tool_would_find_a_wrong_name() -> None:
    assert "counter metrics should have" in check_metrics("# HELP a_b c\n# TYPE a_b counter\na_b 1\n")
