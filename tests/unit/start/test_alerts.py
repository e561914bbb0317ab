"""Each alert rule fires on the series that it is for, and not on those that are close to it."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.promtool import RULES, assert_firing

#: What is always there while a door and a console run.
USUAL = {
    'mailroom_build_info{kind="door"}': "1x120",
    "mailroom_postgresql_up": "1x120",
    "mailroom_redis_up": "1x120",
}
#: Once an hour has passed, a value is another one.
CHANGE = "{}x59 {}x60"


def change(before: float, after: float) -> str:
    return CHANGE.format(before, after)


def processes(kind: str, state: str) -> str:
    return f'mailroom_processes{{kind="{kind}",state="{state}"}}'


def check(name: str) -> str:
    return f'mailroom_check_ok{{check="{name}"}}'


def door(result: str) -> str:
    return f'mailroom_deliveries_total{{result="{result}"}}'


AGE = 'mailroom_oldest_age_seconds{queue="%s"}'
DONE, FAILED = "mailroom_done_tasks_total", "mailroom_failed_tasks_total"
TOKENS = 'mailroom_token_refreshes_total{result="token_unavailable"}'
RECEIVED = "mailroom_received_deliveries_total"
USED, LIMIT = "mailroom_redis_memory_bytes", "mailroom_redis_memory_limit_bytes"
STARTED = 'process_start_time_seconds{job="mailroom",instance="worker:8083"}'
PARKED = 'mailroom_parked_events{cause="%s"}'
TENANTS = 'mailroom_tenants{state="%s"}'
HELD = "mailroom_held_endpoint_seconds"
LIVE = 'mailroom_front_waiting_tasks{tenant="Acme",lane="%s"}'
BRIEFLY = "0x59 100x3 0x57"
#: Each alert with series on which it fires, and with some that are no reason.
CASES: list[tuple[str, dict[str, str], dict[str, str]]] = [
    ("OldestWaiting", {AGE % "intake": change(1, 61)}, {AGE % "intake": change(1, 59)}),
    ("OldestWaiting", {AGE % "feed": change(1, 61)}, {AGE % "spool": BRIEFLY}),
    ("OldestWaiting", {AGE % "due": change(1, 1900)}, {AGE % "due": change(1, 1700)}),
    ("OldestWaiting", {AGE % "notify": change(1, 1900)}, {AGE % "notify": change(1, 1700)}),
    ("EndpointHeld", {HELD: change(0, 901)}, {HELD: change(0, 899)}),
    ("EndpointHeld", {HELD: "86460x120"}, {HELD: "0x120"}),
    ("NothingReceived", {"mailroom_silent_tenants": change(0, 1)}, {"mailroom_silent_tenants": BRIEFLY}),
    ("NewFailureGroup", {"mailroom_new_failure_groups": "0x59 1 0x59"}, {"mailroom_new_failure_groups": "0x120"}),
    ("FailureShare", {DONE: "0+9x119", FAILED: "0+1x119"}, {DONE: "0+99x119", FAILED: "0+1x119"}),
    ("FailureShare", {DONE: "0x120", FAILED: change(0, 8)}, {DONE: "0x120", FAILED: change(0, 3)}),
    ("ParkedGrowing", {PARKED % "unknown_company": "0+1x119"}, {PARKED % "unknown_company": "50x120"}),
    ("ParkedGrowing", {PARKED % "needs_reconnect": "_x60 7x60"}, {PARKED % "paused": "0+1x119"}),
    ("ParkedGrowing", {PARKED % "missing_scope": "10001x120"}, {PARKED % "missing_scope": "200-1x119"}),
    ("RepairFailing", {"mailroom_failed_repairs": "1x120"}, {"mailroom_failed_repairs": "0x80 1x40"}),
    ("NeedsReconnect", {TENANTS % "needs_reconnect": change(0, 1)}, {TENANTS % "paused": change(0, 1)}),
    ("TokenRefreshFailing", {TOKENS: change(0, 5)}, {TOKENS: change(0, 3)}),
    ("TokenRefreshFailing", {TENANTS % "token_refused": "1x120"}, {TENANTS % "works": "1x120"}),
    ("FrontBudgetExhausted", {LIVE % "live": change(0, 9)}, {LIVE % "backlog": change(0, 9)}),
    ("FrontUnavailable", {check("front is away"): "_x60 0x60"}, {check("front is away"): "_x60 0x2 stale _x50"}),
    ("DeliveriesRefused", {door("nothing_stored"): change(0, 1)}, {door("intake"): change(0, 1), RECEIVED: "0+1x119"}),
    ("RejectedSignatures", {door("invalid_signature"): change(0, 9)}, {door("invalid_signature"): change(0, 3)}),
    (
        "RejectedSignatures",
        {door("invalid_signature"): "0+2x119", door("intake"): "0+9x119", RECEIVED: "0+9x119"},
        {door("invalid_signature"): "0+2x119", door("intake"): "0+90x119", RECEIVED: "0+90x119"},
    ),
    ("ClockSkew", {door("stale_timestamp"): change(0, 9)}, {door("stale_timestamp"): change(0, 3)}),
    ("NoRecorder", {processes("recorder", "alive"): change(1, 0)}, {processes("recorder", "alive"): change(2, 1)}),
    ("NoWorker", {processes("worker", "alive"): change(1, 0)}, {processes("console", "alive"): change(1, 0)}),
    ("NoSweeper", {processes("sweeper", "alive"): change(1, 0)}, {processes("sweeper", "alive"): "1x59 0 1x59"}),
    ("ProcessSilent", {processes("worker", "silent"): change(0, 1)}, {processes("worker", "silent"): "0x59 1 0x59"}),
    ("ProcessRestarting", {STARTED: "1x60 2x5 3x5 4x50"}, {STARTED: "1x60 2x5 3x55"}),
    (
        "SweepFailing",
        {'mailroom_sweep_failures_total{job="dispatch"}': change(0, 5)},
        {'mailroom_sweep_failures_total{job="dispatch"}': change(0, 2)},
    ),
    ("RollupStale", {door("intake"): "0+1x119", RECEIVED: "5x120"}, {door("intake"): "5x120", RECEIVED: "5x120"}),
    ("PostgresqlAway", {"mailroom_postgresql_up": change(1, 0)}, {"mailroom_postgresql_up": "1x59 0 1x59"}),
    ("RedisAway", {"mailroom_redis_up": change(1, 0)}, {"mailroom_redis_up": "1x59 0 1x59"}),
    ("RedisMemory", {USED: change(10, 71), LIMIT: "100x120"}, {USED: change(10, 69), LIMIT: "100x120"}),
    ("RedisMemory", {USED: "900x120", LIMIT: "1000x120"}, {USED: "900x120"}),
    ("RedisNotDurable", {check("redis sync"): change(1, 0)}, {check("redis sync"): "1x120"}),
    ("StorageFull", {check("storage"): change(1, 0)}, {check("storage"): "1x59 0x2 1x59"}),
    ("SchemaBehind", {check("migrations"): change(1, 0)}, {check("migrations"): "1x59 0x5 1x59"}),
    ("BackupTooOld", {"mailroom_backup_age_seconds": "129000+60x119"}, {"mailroom_backup_age_seconds": "9000+60x119"}),
    ("BackupTooOld", {"mailroom_backup_age_seconds": "900000x120"}, {}),
    ("DoctorFinds", {check("connections"): change(1, 0)}, {check("parked: paused"): change(1, 0)}),
    ("DoctorFinds", {check("token_keys"): change(1, 0)}, {check("endpoint held"): change(1, 0)}),
    ("DoctorFinds", {check("token_keys"): "0x120"}, {check("token_keys"): "0x120", "mailroom_redis_up": "_x120"}),
    ("NoDoor", {'mailroom_build_info{kind="door"}': "1x59 _x60"}, {}),
    ("NoConsole", {"mailroom_postgresql_up": "1x59 _x60", "mailroom_redis_up": "1x59 _x60"}, {}),
]
ALERTS = {rule["alert"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]}


@pytest.mark.parametrize(("alert", "wrong", "usual"), CASES)
def test_an_alert_fires_on_what_it_is_for(alert: str, wrong: dict[str, str], usual: dict[str, str]) -> None:
    assert_firing(USUAL | wrong, [alert], at=119)
    assert_firing(USUAL | usual, [], at=119)


def test_each_alert_is_tested() -> None:
    assert {alert for alert, _, _ in CASES} == ALERTS


def test_each_alert_tells_how_urgent_it_is_and_where_to_read_on() -> None:
    rules: list[Any] = [
        rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
    ]  # fmt: skip
    for rule in rules:
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"]["summary"].endswith(".")
        assert rule["annotations"]["runbook"] == f"docs/runbooks.md#{rule['alert'].lower()}"
