"""Parked work has a cause, and continues by itself when the cause is gone."""

from __future__ import annotations

import threading
import time

import psycopg

from shared.connection.vault import TokenVault
from shared.db.tenants import connections, tenants
from tests.integration.pipeline.harness import Harness

NORA = "nora@acme.example"
TO_NORA = [{"handle": NORA, "role": "to"}]


def event_state(harness: Harness) -> tuple[str, str | None]:
    [row] = harness.sql("SELECT state, cause FROM shown_events")
    return row


def connect(harness: Harness, tenant_id: int, token: str) -> None:
    secret = TokenVault(harness.settings.token_keys).seal(tenant_id, {"access_token": token})
    harness.resources.pool.run(lambda conn: connections.connect(conn, tenant_id, kind="api_token", secret=secret))


def test_events_of_an_unknown_company_are_worked_through_once_it_is_connected(harness: Harness) -> None:
    harness.control("companies", {"id": "cmp_acme", "name": "Acme"})
    [event] = harness.send("inbound_received", "cmp_acme", recipients=TO_NORA, attachment_count=1)
    harness.record()
    harness.sweep("adopt", "dispatch")
    assert event_state(harness) == ("parked", "unknown_company")
    tenant = harness.tenant("cmp_acme")
    harness.user(tenant, NORA)
    harness.sweep("adopt")
    harness.work()
    assert event_state(harness) == ("done", None)
    assert harness.status(event["conversation_id"]) == "archived"
    assert harness.one("SELECT count(*)::int FROM deliveries") == 1


def test_a_token_front_does_not_accept_parks_the_tenant_until_it_has_a_new_one(harness: Harness) -> None:
    tenant = harness.tenant("cmp_acme", token="wrong-token")
    harness.user(tenant, NORA)
    [event] = harness.send("inbound_received", "cmp_acme", recipients=TO_NORA, attachment_count=2)
    harness.record()
    harness.work()
    assert event_state(harness) == ("parked", "needs_reconnect")
    assert harness.sql("SELECT DISTINCT attempts FROM tasks") == [(0,)]
    connect(harness, tenant, harness.control("companies", {"id": "cmp_acme", "name": "Acme"})["api_token"])
    harness.work()
    assert event_state(harness) == ("done", None)
    assert harness.status(event["conversation_id"]) == "archived"


def test_a_token_revoked_in_the_middle_of_a_backlog_is_used_no_more_and_costs_nothing(harness: Harness) -> None:
    tenant = harness.tenant("cmp_acme")
    harness.user(tenant, NORA)
    harness.send("inbound_received", "cmp_acme", recipients=TO_NORA, count=40)
    harness.record()
    harness.resources.dispatcher.send_round()
    harness.control("companies/cmp_acme/tokens", {"do": "revoke"})
    harness.work()
    assert [call["status"] for call in harness.control("ledger/calls")["calls"]] == [401]
    assert harness.sql("SELECT DISTINCT state, attempts FROM tasks") == [("ready", 0)]
    harness.control("companies/cmp_acme/tokens", {"do": "restore", "api_token": "another"})
    connect(harness, tenant, "another")
    harness.work()
    assert harness.sql("SELECT DISTINCT state, attempts FROM tasks") == [("done", 1)]
    verdict = harness.control("verdict")
    assert [verdict[what] for what in ("lost", "double", "effects")] == [0, 0, 40]


def test_a_tenant_without_a_connection_is_parked_and_not_tried_over_and_over(harness: Harness) -> None:
    tenant = harness.tenant("cmp_acme")
    harness.user(tenant, NORA)
    harness.sql("DELETE FROM connections")
    harness.send("inbound_received", "cmp_acme", recipients=TO_NORA)
    harness.record()
    harness.work()
    assert event_state(harness) == ("parked", "needs_reconnect")
    assert harness.one("SELECT count(*)::int FROM attempts") == 1


def test_an_old_token_never_parks_a_tenant_that_was_connected_anew(harness: Harness) -> None:
    tenant = harness.tenant("cmp_acme")
    old = harness.one("SELECT version FROM connections")
    connect(harness, tenant, "newer-token")

    def park(version: int) -> bool:
        return harness.resources.pool.run(
            lambda conn: tenants.park(conn, tenant, "needs_reconnect", token_version=version, probe_seconds=60)
        )

    assert park(old) is False
    assert harness.one("SELECT parked_cause FROM tenants") is None
    assert park(old + 1) is True


def let_an_hour_pass(harness: Harness) -> None:
    harness.sql("UPDATE tenants SET probe_at = probe_at - interval '61 minutes'")
    harness.sweep("probe")


def count_refused_calls(harness: Harness) -> int:
    return sum(call["status"] == 403 for call in harness.control("ledger/calls")["calls"])


def test_a_missing_permission_is_tried_by_one_task_an_hour_until_it_is_there(harness: Harness) -> None:
    tenant = harness.tenant("cmp_acme")
    harness.user(tenant, NORA)
    harness.control("faults", {"kind": "403", "method": "PATCH"})
    harness.send("inbound_received", "cmp_acme", recipients=TO_NORA, count=20)
    harness.record()
    harness.work()
    assert {row[0] for row in harness.sql("SELECT cause FROM shown_events WHERE state = 'parked'")} == {"missing_scope"}
    at_first = count_refused_calls(harness)
    harness.sweep("probe")
    harness.work()
    assert count_refused_calls(harness) == at_first, "nothing is tried before the hour is over"
    for hour in range(1, 4):
        let_an_hour_pass(harness)
        harness.work()
        assert count_refused_calls(harness) == at_first + hour
    harness.clear_faults()
    let_an_hour_pass(harness)
    harness.work()
    assert harness.sql("SELECT DISTINCT state, cause FROM shown_events") == [("done", None)]
    assert harness.one("SELECT max(attempts) FROM tasks") == 1


def test_a_task_that_says_nothing_about_a_permission_is_followed_by_another(harness: Harness) -> None:
    tenant = harness.tenant("cmp_acme")
    harness.user(tenant, NORA)
    harness.control("faults", {"kind": "403", "count": 1})
    harness.send("inbound_received", "cmp_acme", recipients=TO_NORA)
    harness.record()
    harness.work()
    harness.control("faults", {"kind": "503", "method": "PATCH", "count": 1})
    let_an_hour_pass(harness)
    harness.work()
    assert event_state(harness) == ("parked", "missing_scope")
    harness.make_due()
    harness.sql("UPDATE tenants SET probe_at = probe_at - interval '6 minutes'")
    harness.sweep("probe")
    harness.work()
    assert event_state(harness) == ("done", None)


def test_a_token_that_is_revoked_counts_more_than_a_missing_permission(harness: Harness) -> None:
    tenant = harness.tenant("cmp_acme")
    harness.user(tenant, NORA)
    harness.control("faults", {"kind": "403", "count": 1})
    harness.send("inbound_received", "cmp_acme", recipients=TO_NORA)
    harness.record()
    harness.work()
    harness.control("companies/cmp_acme/tokens", {"do": "revoke"})
    let_an_hour_pass(harness)
    harness.work()
    assert event_state(harness) == ("parked", "needs_reconnect")


def test_a_paused_tenant_still_receives_and_does_nothing(harness: Harness) -> None:
    tenant = harness.tenant("cmp_acme")
    harness.user(tenant, NORA)
    harness.resources.pool.run(lambda conn: tenants.pause(conn, tenant))
    [event] = harness.send("inbound_received", "cmp_acme", recipients=TO_NORA)
    harness.record()
    harness.work()
    assert event_state(harness) == ("parked", "paused")
    harness.resources.pool.run(lambda conn: tenants.resume(conn, tenant))
    harness.work()
    assert harness.status(event["conversation_id"]) == "archived"


def test_fronts_429_holds_the_tenant_back_and_costs_no_attempt(harness: Harness) -> None:
    tenant = harness.tenant("cmp_acme")
    harness.user(tenant, NORA)
    harness.control("faults", {"kind": "429", "count": 1, "seconds": 30})
    harness.send("inbound_received", "cmp_acme", recipients=TO_NORA, count=5)
    harness.record()
    harness.work()
    assert harness.one("SELECT not_before > now() + interval '20 seconds' FROM tenants") is True
    assert harness.sql("SELECT DISTINCT attempts FROM tasks WHERE state = 'ready'") == [(0,)]
    assert harness.control("ledger").get("early", 0) in (0, [])


def test_one_tenants_trouble_is_not_anothers(harness: Harness) -> None:
    for company, name, token in (("cmp_acme", "Acme", "wrong-token"), ("cmp_other", "Other", None)):
        harness.user(harness.tenant(company, name, token=token), NORA)
    harness.send("inbound_received", "cmp_acme", recipients=TO_NORA, count=20)
    [event] = harness.send("inbound_received", "cmp_other", recipients=TO_NORA)
    harness.record()
    harness.work()
    assert harness.status(event["conversation_id"]) == "archived"
    assert harness.control("verdict")["wrong_token"] == 0


def test_a_tenant_that_is_being_connected_is_not_parked_for_its_old_token(harness: Harness, database: str) -> None:
    tenant = harness.tenant("cmp_acme")
    old = harness.one("SELECT version FROM connections")
    with psycopg.connect(database) as connecting:
        connections.connect(connecting, tenant, kind="api_token", secret=b"newer")
        parking = threading.Thread(
            target=harness.resources.pool.run,
            args=(lambda conn: tenants.park(conn, tenant, "needs_reconnect", token_version=old, probe_seconds=60),),
        )
        parking.start()
        wait_for_blocked_lock(harness)
    parking.join()
    assert harness.one("SELECT parked_cause FROM tenants") is None


def wait_for_blocked_lock(harness: Harness) -> None:
    deadline = time.monotonic() + 30
    while not harness.sql("SELECT 1 FROM pg_locks WHERE NOT granted"):
        assert time.monotonic() < deadline, "nobody waits for the connection to be made"
        time.sleep(0.01)


def test_a_permission_is_tried_for_though_many_tenants_that_lack_it_have_no_work(harness: Harness) -> None:
    harness.sql(
        "INSERT INTO tenants (name, parked_cause, probe_at)"
        " SELECT 'idle ' || n, 'missing_scope', now() - interval '1 day' FROM generate_series(1, 500) n"
    )
    tenant = harness.tenant("cmp_acme")
    harness.user(tenant, NORA)
    harness.control("faults", {"kind": "403", "count": 1})
    harness.send("inbound_received", "cmp_acme", recipients=TO_NORA)
    harness.record()
    harness.work()
    let_an_hour_pass(harness)
    harness.work()
    assert event_state(harness) == ("done", None)
