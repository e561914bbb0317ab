"""Parked work has a cause, and goes on by itself when the cause is gone."""

from __future__ import annotations

import threading
import time

import psycopg

from shared.connection.vault import TokenVault
from shared.db.tenants import connections, tenants
from tests.integration.pipeline.rig import Rig

NORA = "nora@acme.example"
TO_NORA = [{"handle": NORA, "role": "to"}]


def shown(rig: Rig) -> tuple[str, str | None]:
    [row] = rig.sql("SELECT state, cause FROM shown_events")
    return row


def connect(rig: Rig, tenant_id: int, token: str) -> None:
    secret = TokenVault(rig.settings.token_keys).seal(tenant_id, {"access_token": token})
    rig.resources.pool.run(lambda conn: connections.connect(conn, tenant_id, kind="api_token", secret=secret))


def test_events_of_an_unknown_company_are_worked_through_once_it_is_connected(rig: Rig) -> None:
    rig.control("companies", {"id": "cmp_acme", "name": "Acme"})
    [event] = rig.send("inbound_received", "cmp_acme", recipients=TO_NORA, attachment_count=1)
    rig.record()
    rig.sweep("adopt", "dispatch")
    assert shown(rig) == ("parked", "unknown_company")
    tenant = rig.tenant("cmp_acme")
    rig.user(tenant, NORA)
    rig.sweep("adopt")
    rig.work()
    assert shown(rig) == ("done", None)
    assert rig.status(event["conversation_id"]) == "archived"
    assert rig.one("SELECT count(*)::int FROM deliveries") == 1


def test_a_token_front_does_not_accept_parks_the_tenant_until_it_has_a_new_one(rig: Rig) -> None:
    tenant = rig.tenant("cmp_acme", token="wrong-token")
    rig.user(tenant, NORA)
    [event] = rig.send("inbound_received", "cmp_acme", recipients=TO_NORA, attachment_count=2)
    rig.record()
    rig.work()
    assert shown(rig) == ("parked", "needs_reconnect")
    assert rig.sql("SELECT DISTINCT attempts FROM tasks") == [(0,)]
    connect(rig, tenant, rig.control("companies", {"id": "cmp_acme", "name": "Acme"})["api_token"])
    rig.work()
    assert shown(rig) == ("done", None)
    assert rig.status(event["conversation_id"]) == "archived"


def test_a_token_revoked_in_the_middle_of_a_backlog_is_used_no_more_and_costs_nothing(rig: Rig) -> None:
    tenant = rig.tenant("cmp_acme")
    rig.user(tenant, NORA)
    rig.send("inbound_received", "cmp_acme", recipients=TO_NORA, count=40)
    rig.record()
    rig.resources.dispatcher.send_round()
    rig.control("companies/cmp_acme/tokens", {"do": "revoke"})
    rig.work()
    assert [call["status"] for call in rig.control("ledger/calls")["calls"]] == [401]
    assert rig.sql("SELECT DISTINCT state, attempts FROM tasks") == [("ready", 0)]
    rig.control("companies/cmp_acme/tokens", {"do": "restore", "api_token": "another"})
    connect(rig, tenant, "another")
    rig.work()
    assert rig.sql("SELECT DISTINCT state, attempts FROM tasks") == [("done", 1)]
    verdict = rig.control("verdict")
    assert [verdict[what] for what in ("lost", "double", "effects")] == [0, 0, 40]


def test_a_tenant_without_a_connection_is_parked_and_not_tried_over_and_over(rig: Rig) -> None:
    tenant = rig.tenant("cmp_acme")
    rig.user(tenant, NORA)
    rig.sql("DELETE FROM connections")
    rig.send("inbound_received", "cmp_acme", recipients=TO_NORA)
    rig.record()
    rig.work()
    assert shown(rig) == ("parked", "needs_reconnect")
    assert rig.one("SELECT count(*)::int FROM attempts") == 1


def test_an_old_token_never_parks_a_tenant_that_was_connected_anew(rig: Rig) -> None:
    tenant = rig.tenant("cmp_acme")
    old = rig.one("SELECT version FROM connections")
    connect(rig, tenant, "newer-token")

    def park(version: int) -> bool:
        return rig.resources.pool.run(
            lambda conn: tenants.park(conn, tenant, "needs_reconnect", token_version=version, probe_seconds=60)
        )

    assert park(old) is False
    assert rig.one("SELECT parked_cause FROM tenants") is None
    assert park(old + 1) is True


def an_hour_passes(rig: Rig) -> None:
    rig.sql("UPDATE tenants SET probe_at = probe_at - interval '61 minutes'")
    rig.sweep("probe")


def refused(rig: Rig) -> int:
    return sum(call["status"] == 403 for call in rig.control("ledger/calls")["calls"])


def test_a_missing_permission_is_tried_by_one_task_an_hour_until_it_is_there(rig: Rig) -> None:
    tenant = rig.tenant("cmp_acme")
    rig.user(tenant, NORA)
    rig.control("faults", {"kind": "403", "method": "PATCH"})
    rig.send("inbound_received", "cmp_acme", recipients=TO_NORA, count=20)
    rig.record()
    rig.work()
    assert {row[0] for row in rig.sql("SELECT cause FROM shown_events WHERE state = 'parked'")} == {"missing_scope"}
    at_first = refused(rig)
    rig.sweep("probe")
    rig.work()
    assert refused(rig) == at_first, "nothing is tried before the hour is over"
    for hour in range(1, 4):
        an_hour_passes(rig)
        rig.work()
        assert refused(rig) == at_first + hour
    rig.heal()
    an_hour_passes(rig)
    rig.work()
    assert rig.sql("SELECT DISTINCT state, cause FROM shown_events") == [("done", None)]
    assert rig.one("SELECT max(attempts) FROM tasks") == 1


def test_a_task_that_says_nothing_about_a_permission_is_followed_by_another(rig: Rig) -> None:
    tenant = rig.tenant("cmp_acme")
    rig.user(tenant, NORA)
    rig.control("faults", {"kind": "403", "count": 1})
    rig.send("inbound_received", "cmp_acme", recipients=TO_NORA)
    rig.record()
    rig.work()
    rig.control("faults", {"kind": "503", "method": "PATCH", "count": 1})
    an_hour_passes(rig)
    rig.work()
    assert shown(rig) == ("parked", "missing_scope")
    rig.hurry()
    rig.sql("UPDATE tenants SET probe_at = probe_at - interval '6 minutes'")
    rig.sweep("probe")
    rig.work()
    assert shown(rig) == ("done", None)


def test_a_token_that_is_revoked_counts_more_than_a_missing_permission(rig: Rig) -> None:
    tenant = rig.tenant("cmp_acme")
    rig.user(tenant, NORA)
    rig.control("faults", {"kind": "403", "count": 1})
    rig.send("inbound_received", "cmp_acme", recipients=TO_NORA)
    rig.record()
    rig.work()
    rig.control("companies/cmp_acme/tokens", {"do": "revoke"})
    an_hour_passes(rig)
    rig.work()
    assert shown(rig) == ("parked", "needs_reconnect")


def test_a_paused_tenant_still_receives_and_does_nothing(rig: Rig) -> None:
    tenant = rig.tenant("cmp_acme")
    rig.user(tenant, NORA)
    rig.resources.pool.run(lambda conn: tenants.pause(conn, tenant))
    [event] = rig.send("inbound_received", "cmp_acme", recipients=TO_NORA)
    rig.record()
    rig.work()
    assert shown(rig) == ("parked", "paused")
    rig.resources.pool.run(lambda conn: tenants.resume(conn, tenant))
    rig.work()
    assert rig.status(event["conversation_id"]) == "archived"


def test_fronts_429_holds_the_tenant_back_and_costs_no_attempt(rig: Rig) -> None:
    tenant = rig.tenant("cmp_acme")
    rig.user(tenant, NORA)
    rig.control("faults", {"kind": "429", "count": 1, "seconds": 30})
    rig.send("inbound_received", "cmp_acme", recipients=TO_NORA, count=5)
    rig.record()
    rig.work()
    assert rig.one("SELECT not_before > now() + interval '20 seconds' FROM tenants") is True
    assert rig.sql("SELECT DISTINCT attempts FROM tasks WHERE state = 'ready'") == [(0,)]
    assert rig.control("ledger").get("early", 0) in (0, [])


def test_one_tenants_trouble_is_not_anothers(rig: Rig) -> None:
    for company, name, token in (("cmp_acme", "Acme", "wrong-token"), ("cmp_other", "Other", None)):
        rig.user(rig.tenant(company, name, token=token), NORA)
    rig.send("inbound_received", "cmp_acme", recipients=TO_NORA, count=20)
    [event] = rig.send("inbound_received", "cmp_other", recipients=TO_NORA)
    rig.record()
    rig.work()
    assert rig.status(event["conversation_id"]) == "archived"
    assert rig.control("verdict")["wrong_token"] == 0


def test_a_tenant_that_is_being_connected_is_not_parked_for_its_old_token(rig: Rig, database: str) -> None:
    tenant = rig.tenant("cmp_acme")
    old = rig.one("SELECT version FROM connections")
    with psycopg.connect(database) as connecting:
        connections.connect(connecting, tenant, kind="api_token", secret=b"newer")
        parking = threading.Thread(
            target=rig.resources.pool.run,
            args=(lambda conn: tenants.park(conn, tenant, "needs_reconnect", token_version=old, probe_seconds=60),),
        )
        parking.start()
        until_somebody_waits(rig)
    parking.join()
    assert rig.one("SELECT parked_cause FROM tenants") is None


def until_somebody_waits(rig: Rig) -> None:
    deadline = time.monotonic() + 30
    while not rig.sql("SELECT 1 FROM pg_locks WHERE NOT granted"):
        assert time.monotonic() < deadline, "nobody waits for the connection to be made"
        time.sleep(0.01)


def test_a_permission_is_tried_for_though_many_tenants_that_lack_it_have_no_work(rig: Rig) -> None:
    rig.sql(
        "INSERT INTO tenants (name, parked_cause, probe_at)"
        " SELECT 'idle ' || n, 'missing_scope', now() - interval '1 day' FROM generate_series(1, 500) n"
    )
    tenant = rig.tenant("cmp_acme")
    rig.user(tenant, NORA)
    rig.control("faults", {"kind": "403", "count": 1})
    rig.send("inbound_received", "cmp_acme", recipients=TO_NORA)
    rig.record()
    rig.work()
    an_hour_passes(rig)
    rig.work()
    assert shown(rig) == ("done", None)
