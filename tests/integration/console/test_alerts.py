"""Real faults make real processes show metrics on which our alerts fire; a sound installation fires none."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import uuid4

import psycopg
import pytest
import redis
import requests
import yaml
from cryptography.fernet import Fernet
from prometheus_client.parser import text_string_to_metric_families

from bench.harness.ports import free_port
from bench.harness.processes import wait_until
from shared.db import figures
from shared.db.core.migrate import migrate
from shared.db.figures import Tally
from shared.process.metrics import publish_tenants_at_limit
from tests.integration.console.conftest import Mailroom
from tests.integration.console.console_process import running_console
from tests.integration.console.rows import insert_event, insert_task
from tests.integration.door.door_process import KEY, Door, running_door, signed
from tests.integration.schema.builders import insert, insert_id
from tests.promtool import RULES, assert_firing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from console.up.embedded import Postgres, Valkey

#: The values of all series at one moment, by their names with labels.
Shown: TypeAlias = dict[str, float]
WITHIN = 60.0
MINUTES = 120  # that Prometheus sees each stage
#: These need a sweeper whose jobs fail, and a process that ends again and again.
NOT_CAUSED = {"SweepFailing", "ProcessRestarting"}
KINDS = ("recorder", "worker", "sweeper")
AT_LIMIT = {"tenant": "Acme", "limit": 100, "used": 100, "wasted": 0, "waiting": 0, "waiting_live": 7}
BROKEN = {
    *("OldestWaiting", "NothingReceived", "NewFailureGroup", "FailureShare", "ParkedGrowing", "RepairFailing"),
    *("NeedsReconnect", "TokenRefreshFailing", "FrontBudgetExhausted", "FrontUnavailable", "RejectedSignatures"),
    *("ClockSkew", "NoRecorder", "NoWorker", "NoSweeper", "ProcessSilent", "RollupStale", "RedisMemory"),
    *("RedisNotDurable", "StorageFull", "SchemaBehind", "DoctorFinds", "EndpointHeld", "BackupTooOld"),
}
STOPPED = {"PostgresqlAway", "RedisAway", "DeliveriesRefused"}
UP = ('mailroom_redis_up{instance="console"}', 'mailroom_postgresql_up{instance="console"}')
GONE = {"NoDoor", "NoConsole"}


class Installation:
    """A console and a door with their own servers; recorder, worker and sweeper are rows with a heartbeat."""

    def __init__(self, postgres: Postgres, valkey: Valkey, folder: Path, door: Door, door_metrics: int) -> None:
        self._postgres, self._valkey, self._folder = postgres, valkey, folder
        self._door, self._door_metrics, self._metrics = door, door_metrics, free_port()
        self.environment = {
            "DATABASE_URL": postgres.url,
            "REDIS_URL": valkey.url,
            "MAILROOM_DATA": str(folder / "data"),
            "STORAGE_URL": (folder / "files").as_uri(),
            "TOKEN_KEYS": Fernet.generate_key().decode(),
            "FRONT_SIGNING_KEYS": KEY.decode(),
            "SECRET_KEY": "a-secret-of-this-test",
            "METRICS_PORT": str(self._metrics),
        }

    def prepare(self) -> None:
        """Make it sound: durable Redis, a tenant that is connected, and all processes alive."""
        migrate(self._postgres.url)
        with redis.Redis.from_url(self._valkey.url) as client:
            for name, value in (("appendonly", "yes"), ("appendfsync", "always"), ("maxmemory-policy", "noeviction")):
                client.config_set(name, value)
        token = self._folder / "token"
        token.write_text("token-of-acme-" + "x" * 40)
        mailroom = Mailroom(environment=dict(self.environment))
        mailroom("tenant", "add", "Acme", "--company", "cmp_acme", "--api-token-file", token, "--no-check")
        with self._connect() as conn:
            insert(conn, "backups", made_at=datetime.now(UTC) - timedelta(days=1))
            for kind in KINDS:
                insert(conn, "processes", name=f"{kind}@a:1", kind=kind, seen_at=datetime.now(UTC) + timedelta(hours=1))

    def look(self, log: Path, **changed: str) -> Shown:
        """Start a console, and return what it and the door show as soon as it has looked at everything."""
        with running_console(log, self.environment | changed):
            wait_until(lambda: {"mailroom_check_ok", "mailroom_silent_tenants"} <= self._names(), WITHIN)
            return self._shown()

    def look_while_servers_are_away(self, log: Path) -> Shown:
        """Stop both servers while a console runs, and return what it and the door show then."""
        with running_console(log, self.environment):
            wait_until(lambda: "mailroom_processes" in self._names(), WITHIN)
            self._postgres.stop()
            self._valkey.stop()
            assert self._door.post().status == 503
            shown: list[Shown] = []

            def both_are_away() -> bool:
                shown.append(self._shown())
                return [shown[-1].get(name) for name in UP] == [0, 0]

            wait_until(both_are_away, WITHIN)
            return shown[-1]

    def break_all(self) -> None:
        """Cause each fault that rows, requests and settings of servers can cause."""
        for _ in range(9):
            assert self._door.post().status == 200
            assert self._door.request("POST", "/webhooks/front", b"{}", signed(b"other")).status == 401
            assert self._door.request("POST", "/webhooks/front", b"{}", _signed_yesterday(b"{}")).status == 401
        with redis.Redis.from_url(self._valkey.url) as client:
            publish_tenants_at_limit(client, [AT_LIMIT])
            memory: Any = client.info("memory")
            client.config_set("appendfsync", "everysec")
            client.config_set("maxmemory", int(memory["used_memory"] * 1.3))
        files = self._folder / "files"
        if files.exists():
            files.rename(self._folder / "moved")
        files.write_text("a file in place of the folder")
        with self._connect() as conn:
            _break_rows(conn)

    def _connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self._postgres.url, autocommit=True)

    def _names(self) -> set[str]:
        return {name.partition("{")[0] for name in self._shown()}

    def _shown(self) -> Shown:
        return _scrape(self._metrics, "console") | _scrape(self._door_metrics, "door")


def _signed_yesterday(body: bytes) -> dict[str, str]:
    at = str(int((time.time() - 86_400) * 1000))
    digest = hmac.new(KEY, at.encode() + b":" + body, hashlib.sha256).digest()
    return {"X-Front-Request-Timestamp": at, "X-Front-Signature": base64.b64encode(digest).decode()}


def _break_rows(conn: psycopg.Connection[Any]) -> None:
    now = datetime.now(UTC)
    insert(conn, "spooled_deliveries", id=uuid4(), received_at=now - timedelta(minutes=10), body=b"{}")
    for number in range(8):
        insert_task(conn, insert_event(conn, front_id=f"evt_{number}"), state="failed", code="bug", detail="a failure")
    insert_event(conn, front_id="evt_unknown", company="cmp_unknown", state="parked", cause="unknown_company")
    busy = insert_id(conn, "tenants", name="Busy", company_id="cmp_busy")
    insert(conn, "tenants", name="Revoked", company_id="cmp_revoked", parked_cause="needs_reconnect", parked_at=now)
    insert(conn, "repairs", tenant_id=busy, state="failed", settled_at=now)
    insert(conn, "outages", what="front", since=now, code="front_unavailable", detail="no answer", probe_at=now)
    insert(conn, "counters", name="token_refreshes:token_unavailable", value=5)
    held = {"state": "held", "held_cause": "failures", "held_at": now - timedelta(hours=1)}
    insert(conn, "endpoints", name="host", url="https://host.example/", secret=b"", **held)
    conn.execute("UPDATE backups SET made_at = made_at - interval '1 day'")
    conn.execute("DELETE FROM processes")
    insert(conn, "processes", name="worker@b:1", kind="worker", seen_at=now - timedelta(minutes=5))
    conn.execute("DELETE FROM schema_migrations WHERE name = (SELECT max(name) FROM schema_migrations)")
    failed, week = Tally(), Tally()
    failed.add("failed", now, {None: 8})
    for day in range(1, 8):
        week.add("received", now - timedelta(days=day, minutes=30), {busy: 50})
    with conn.transaction():
        figures.add(conn, failed)
        figures.add(conn, week, "tenants")
    conn.execute("DELETE FROM shared_figures")  # else a count of a few seconds ago would be shown


def _scrape(port: int, instance: str) -> Shown:
    try:
        text = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text
    except requests.ConnectionError:
        return {}
    shown = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = sample.labels | {"instance": instance}
            shown[sample.name + "{" + ",".join(f'{name}="{value}"' for name, value in labels.items()) + "}"] = (
                sample.value
            )
    return shown


def series(stages: list[Shown]) -> dict[str, str]:
    """Return each series in the notation of promtool, as if Prometheus had seen each stage for MINUTES."""
    values: dict[str, list[str]] = {name: [] for shown in stages for name in shown}
    for name, parts in values.items():
        was_there = False
        for shown in stages:
            if name in shown:
                parts.append(f"{shown[name]:f}x{MINUTES - 1}")
            else:
                parts.append(f"stale _x{MINUTES - 1}" if was_there else f"_x{MINUTES}")
            was_there = name in shown
    return {name: " ".join(parts) for name, parts in values.items()}


@pytest.fixture
def installation(own_postgres: Postgres, own_valkey: Valkey, tmp_path: Path) -> Iterator[Installation]:
    port = free_port()
    with ExitStack() as stack:
        door = stack.enter_context(
            running_door(own_postgres.url, own_valkey.url, tmp_path / "door.log", METRICS_PORT=str(port))
        )
        installation = Installation(own_postgres, own_valkey, tmp_path, door, port)
        installation.prepare()
        yield installation


def test_real_faults_fire_the_alerts(installation: Installation, tmp_path: Path) -> None:
    log = tmp_path / "console.log"
    sound = installation.look(log)
    installation.break_all()
    broken = installation.look(log, TOKEN_KEYS=Fernet.generate_key().decode())
    away = installation.look_while_servers_are_away(log)
    shown = series([sound, broken, away, {}])
    assert_firing(shown, [], at=MINUTES - 1)
    assert_firing(shown, BROKEN, at=2 * MINUTES - 1, since=MINUTES)
    assert_firing(shown, STOPPED, at=3 * MINUTES - 1, since=2 * MINUTES, only="|".join(STOPPED))
    assert_firing(shown, GONE, at=4 * MINUTES - 1, since=3 * MINUTES, only="|".join(GONE))


def test_every_other_alert_is_caused() -> None:
    rules = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    assert {rule["alert"] for rule in rules} == BROKEN | STOPPED | GONE | NOT_CAUSED
