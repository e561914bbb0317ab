"""Every process of the Procfile shows metrics on a port of its own, and says which."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from bench.harness.ports import free_port
from tests.dashboards import metrics_asked_for
from tests.integration.schema.builders import insert, insert_id
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
def ports(start: Start, database: str, redis_db: str) -> dict[str, int]:
    """Start all processes, with a tenant that has a token and a backup; return the port of the metrics of each."""
    with psycopg.connect(database, autocommit=True) as conn:
        tenant = insert_id(conn, "tenants", name="Acme", company_id="cmp_acme")
        insert(conn, "backups", made_at=datetime.now(UTC))
        insert(conn, "connections", tenant_id=tenant, kind="oauth", secret=b"", expires_at=datetime.now(UTC))
    door = free_port()
    servers = {"DATABASE_URL": database, "REDIS_URL": redis_db}
    start(PROCFILE, CONSOLE_PORT=str(free_port()), METRICS_PORT=str(door), STORAGE_URL="", **servers)
    wait_until(lambda: set(registered(database)) == set(KINDS), "all processes are registered")
    wait_until(lambda: answers(door), "the door answers")
    return {"door": door, **registered(database)}


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
    # The console looks some things up aside, for the next who asks.
    wait_until(lambda: {"mailroom_check_ok", "mailroom_silent_tenants"} <= names(ports), "it has looked")
    assert metrics_asked_for() - names(ports) == set()


def names(ports: dict[str, int]) -> set[str]:
    """Return the names of all samples, also of those that have no labels yet."""
    families = [
        family
        for port in ports.values()
        for family in text_string_to_metric_families(requests.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text)
    ]
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "info": ("_info",)}
    found = {family.name + suffix for family in families for suffix in suffixes.get(family.type, ("",))}
    return found | {sample.name for family in families for sample in family.samples}


def test_the_tool_would_find_a_wrong_name() -> None:
    assert "counter metrics should have" in check_metrics("# HELP a_b c\n# TYPE a_b counter\na_b 1\n")
