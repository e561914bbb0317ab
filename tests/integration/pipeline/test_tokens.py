"""OAuth tokens: refreshed before anybody notices, once, and never lost to what goes on beside."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared import queue
from shared.connection.client import TenantConnection
from shared.connection.tokens import current_token, keep_alive
from shared.db.tenants import connections
from shared.models import Grant
from tests.integration.pipeline.consent import PAST, UNCLAIMED, changes, consent, refreshes, stored
from tests.integration.pipeline.rig import Rig

ACME, NORA = "cmp_acme", "nora@acme.example"
TO_NORA = [{"handle": NORA, "role": "to"}]
ENDING = "UPDATE connections SET expires_at = now() + interval '1 minute', updated_at = now() - interval '59 minutes'"
VERSION = "SELECT version FROM connections"


@pytest.fixture
def rig(database: str, redis_db: str, tmp_path: Path) -> Iterator[Rig]:
    """Mailroom, and a Front that gives out another refresh token each time."""
    rig = Rig(database, redis_db, tmp_path / "files", rotate_refresh_tokens=True)
    yield rig
    rig.close()


@pytest.fixture
def tenant(rig: Rig) -> int:
    """A tenant connected by OAuth, with one user."""
    tenant = rig.tenant(ACME)
    rig.user(tenant, NORA)
    consent(rig, tenant, ACME)
    return tenant


def mail(rig: Rig, **order: Any) -> None:
    """A recorded message with something to do."""
    rig.send("inbound_received", ACME, recipients=TO_NORA, **order)
    rig.record()


def expire(rig: Rig) -> None:
    """Front takes the access tokens no more; our row knows nothing of it."""
    rig.control(f"companies/{ACME}/tokens", {"do": "expire"})


def tasks(rig: Rig) -> list[tuple[Any, ...]]:
    return rig.sql("SELECT DISTINCT state, code, attempts FROM tasks")


def grant_of(rig: Rig, tenant: int) -> Grant:
    grant = rig.resources.pool.run(lambda conn: connections.read(conn, tenant))
    assert grant is not None
    return grant


def test_a_token_that_is_about_to_end_is_refreshed_before_it_is_used(rig: Rig, tenant: int) -> None:
    before = stored(rig, tenant)
    rig.sql(ENDING)
    mail(rig, attachment_count=2)
    rig.work()
    assert refreshes(rig) == [200]
    assert tasks(rig) == [("done", None, 1)]
    assert rig.one("SELECT expires_at > now() + interval '50 minutes' FROM connections") is True
    after = stored(rig, tenant)
    assert before.access_token != after.access_token
    assert before.refresh_token != after.refresh_token


def test_a_token_that_front_refuses_in_the_middle_is_replaced_and_costs_no_attempt(rig: Rig, tenant: int) -> None:
    mail(rig, attachment_count=3)
    rig.resources.dispatcher.send_round()
    expire(rig)
    rig.work()
    assert refreshes(rig) == [200]
    assert tasks(rig) == [("done", None, 1)]
    assert len(changes(rig)) == 1
    seen = [[call["status"] for call in calls] for (calls,) in rig.sql("SELECT calls FROM attempts ORDER BY task_id")]
    assert [statuses for statuses in seen if 401 in statuses] == [[401, 200]]


def test_each_end_is_followed_by_one_refresh(rig: Rig, tenant: int) -> None:
    for count in range(1, 4):
        expire(rig)
        mail(rig, count=3)
        rig.work()
        assert refreshes(rig) == [200] * count
        assert rig.one(VERSION) == 2 + count  # the rig's API token, the consent, a refresh each


def test_a_fresh_token_that_is_refused_too_parks_the_tenant(rig: Rig, tenant: int) -> None:
    rig.control("faults", {"kind": "401", "path_regex": "^/conversations"})
    mail(rig)
    rig.work()
    assert refreshes(rig) == [200]
    assert rig.one("SELECT parked_cause FROM tenants") == "needs_reconnect"
    assert tasks(rig) == [("ready", "needs_reconnect", 0)]


def test_a_refresh_token_that_front_refuses_parks_the_tenant_until_it_is_connected_anew(rig: Rig, tenant: int) -> None:
    mail(rig, count=5, attachment_count=1)
    rig.control(f"companies/{ACME}/tokens", {"do": "revoke"})
    rig.work()
    assert refreshes(rig) == [400]
    assert {row[:2] for row in rig.sql("SELECT state, attempts FROM tasks")} == {("ready", 0)}
    assert rig.sql("SELECT DISTINCT state, cause FROM shown_events") == [("parked", "needs_reconnect")]
    rig.sweep("keep_alive")
    assert not [name for name, _ in rig.messages.sent if name == queue.KEEP_ALIVE]
    consent(rig, tenant, ACME)
    rig.work()
    assert refreshes(rig) == [400]
    assert tasks(rig) == [("done", None, 1)]


def test_work_waits_while_the_token_endpoint_is_away_and_loses_no_attempt(rig: Rig, tenant: int) -> None:
    rig.sql(PAST)
    rig.control("faults", {"kind": "503", "path_regex": "^/oauth/token"})
    mail(rig, count=5)
    rig.work()
    assert refreshes(rig) == [503]
    assert rig.one("SELECT not_before > now() FROM tenants") is True
    assert rig.sql("SELECT DISTINCT state, attempts FROM tasks") == [("ready", 0)]
    assert rig.sql("SELECT what FROM outages") == []
    rig.heal()
    rig.hurry()
    rig.sql(UNCLAIMED)
    rig.work()
    assert tasks(rig) == [("done", None, 1)]


def test_a_token_that_is_still_good_is_used_while_no_new_one_can_be_had(rig: Rig, tenant: int) -> None:
    rig.sql(ENDING)
    rig.control("faults", {"kind": "503", "path_regex": "^/oauth/token"})
    mail(rig, count=5)
    rig.work()
    assert refreshes(rig) == [503]
    assert tasks(rig) == [("done", None, 1)]


def test_while_somebody_else_refreshes_only_those_without_a_good_token_wait(rig: Rig, tenant: int) -> None:
    grant = grant_of(rig, tenant)
    assert rig.resources.pool.run(lambda conn: connections.claim_refresh(conn, grant, seconds=60)) is True
    assert rig.resources.pool.run(lambda conn: connections.claim_refresh(conn, grant, seconds=60)) is False
    rig.sql(ENDING)
    mail(rig)
    rig.work()
    assert tasks(rig) == [("done", None, 1)]
    rig.sql(PAST)
    mail(rig)
    rig.work()
    assert rig.sql("SELECT state, code, attempts FROM tasks WHERE state <> 'done'") == [
        ("ready", "token_unavailable", 0)
    ]
    assert refreshes(rig) == []


def test_an_old_token_never_parks_a_tenant_that_was_connected_anew(rig: Rig, tenant: int) -> None:
    old = grant_of(rig, tenant)
    new = consent(rig, tenant, ACME)
    assert rig.resources.pool.run(lambda conn: connections.refuse_grant(conn, old)) is False
    assert rig.one("SELECT parked_cause FROM tenants") is None
    assert current_token(rig.resources, tenant, refused=old.version).access_token == new.access_token
    assert refreshes(rig) == []


def test_tokens_of_a_replaced_grant_do_not_replace_the_new_one(rig: Rig, tenant: int) -> None:
    old = grant_of(rig, tenant)
    new = consent(rig, tenant, ACME)
    rig.resources.pool.run(
        lambda conn: connections.store_refreshed(conn, old, secret=b"late", expires_at=old.updated_at)
    )
    assert stored(rig, tenant) == new


def test_tokens_that_come_after_the_tenant_was_parked_release_it(rig: Rig, tenant: int) -> None:
    grant = grant_of(rig, tenant)
    rig.resources.pool.run(lambda conn: connections.refuse_grant(conn, grant))
    assert rig.one("SELECT parked_cause FROM tenants") == "needs_reconnect"
    rig.resources.pool.run(
        lambda conn: connections.store_refreshed(conn, grant, secret=grant.secret, expires_at=grant.updated_at)
    )
    assert rig.one("SELECT parked_cause FROM tenants") is None


def test_an_api_token_is_never_taken_to_the_token_endpoint(rig: Rig) -> None:
    rig.user(rig.tenant(ACME, token="refused"), NORA)
    mail(rig)
    rig.work()
    rig.sql("UPDATE connections SET updated_at = now() - interval '1 year'")
    rig.sweep("keep_alive")
    assert [name for name, _ in rig.messages.sent] == []
    assert rig.one("SELECT parked_cause FROM tenants") == "needs_reconnect"
    assert refreshes(rig) == []


def test_an_idle_tenants_tokens_are_refreshed_twice_a_day(rig: Rig, tenant: int) -> None:
    rig.sweep("keep_alive")
    assert rig.messages.sent == []
    rig.sql("UPDATE connections SET updated_at = updated_at - interval '12 h', keep_alive_at = now()")
    for _ in range(2):  # the first has picked it
        rig.sweep("keep_alive")
    assert rig.messages.sent == [(queue.KEEP_ALIVE, (tenant,))]
    for _ in range(2):  # a message may come twice
        keep_alive(rig.resources, tenant)
    assert refreshes(rig) == [200]
    assert rig.one("SELECT keep_alive_at > now() + interval '11 h' FROM connections") is True


def test_a_tenant_that_could_not_be_kept_alive_is_tried_again_within_the_hour(rig: Rig, tenant: int) -> None:
    rig.control("faults", {"kind": "503", "path_regex": "^/oauth/token"})
    rig.sql("UPDATE connections SET updated_at = updated_at - interval '12 h', keep_alive_at = now()")
    rig.sweep("keep_alive")
    keep_alive(rig.resources, tenant)
    assert refreshes(rig) == [503]
    assert rig.one("SELECT keep_alive_at < now() + interval '61 min' FROM connections") is True
    rig.heal()
    rig.sql(UNCLAIMED)
    keep_alive(rig.resources, tenant)
    assert refreshes(rig) == [503, 200]


def test_a_tenant_of_a_wrong_app_waits_and_is_not_told_to_connect(rig: Rig, tenant: int) -> None:
    rig.sandbox.front.grants.expire(ACME)
    object.__setattr__(rig.sandbox.front.settings, "client_secret", "another")
    mail(rig)
    rig.work()
    [(code, detail)] = rig.sql("SELECT code, detail FROM tasks")
    assert code == "token_unavailable"
    assert "check FRONT_CLIENT_ID and FRONT_CLIENT_SECRET" in detail
    assert rig.one("SELECT parked_cause FROM tenants") is None


def test_no_token_is_in_a_log_a_row_or_a_message(
    rig: Rig, tenant: int, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    first = stored(rig, tenant)
    expire(rig)
    mail(rig, attachment_count=1)
    rig.resources.dispatcher.send_round()
    messages = list(rig.messages.sent)
    rig.work()
    second = stored(rig, tenant)
    rig.control(f"companies/{ACME}/tokens", {"do": "revoke"})
    rig.sql("UPDATE connections SET updated_at = updated_at - interval '12 h', keep_alive_at = now()")
    rig.sweep("keep_alive")
    messages += rig.messages.sent
    keep_alive(rig.resources, tenant)
    tables = rig.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    rows = [rig.sql(f'SELECT t::text FROM "{name}" t') for (name,) in tables]
    shown = capsys.readouterr()
    everything = json.dumps(
        [rows, messages, caplog.text, shown.out, shown.err, repr(TenantConnection(rig.resources, tenant))]
    )
    secrets = {*vars(first).values(), *vars(second).values()}
    assert len(secrets) == 4
    assert [secret for secret in secrets if secret in everything] == []
    assert "needs_reconnect" in everything
    assert "token_refreshed" in everything


UNCLEAR = ["refresh_400_error", "refresh_400_invalid_request", "refresh_401_empty"]
CLEAR = ["refresh_400_invalid_grant", "refresh_401_invalid_grant", "refresh_200_invalid_grant"]


@pytest.mark.parametrize("kind", CLEAR)
def test_a_clear_refusal_parks_the_tenant_at_any_status(rig: Rig, tenant: int, kind: str) -> None:
    rig.sql(PAST)
    rig.control("faults", {"kind": kind})
    mail(rig)
    rig.work()
    assert len(refreshes(rig)) == 1
    assert rig.one("SELECT parked_cause FROM tenants") == "needs_reconnect"


@pytest.mark.parametrize("kind", UNCLEAR)
def test_an_unclear_refusal_is_asked_ever_less_often_and_parks_after_an_hour(rig: Rig, tenant: int, kind: str) -> None:
    rig.sql(PAST)
    rig.control("faults", {"kind": kind})
    mail(rig, count=3)
    waits = []
    for _ in range(8):
        rig.hurry()
        rig.work()
        waits.append(rig.one("SELECT round(extract(epoch FROM refreshing_until - now()))::int FROM connections"))
        assert rig.one("SELECT not_before > now() FROM tenants") is True
        assert rig.one("SELECT parked_cause FROM tenants") is None
        rig.sql(UNCLAIMED)
    assert waits == [10, 20, 40, 80, 160, 320, 600, 600]
    assert len(refreshes(rig)) == 8
    assert [each.tenant for each in rig.resources.pool.run(connections.refused_tenants)] == ["Acme"]
    rig.sql("UPDATE connections SET refused_since = now() - interval '61 minutes'")
    rig.hurry()
    rig.work()
    assert rig.one("SELECT parked_cause FROM tenants") == "needs_reconnect"
    assert rig.sql("SELECT DISTINCT state, attempts FROM tasks") == [("ready", 0)]
    assert [(each.tenant, each.parked) for each in rig.resources.pool.run(connections.refused_tenants)] == [
        ("Acme", True)
    ]


def test_a_refusal_that_was_fronts_mistake_ends_by_itself(rig: Rig, tenant: int) -> None:
    rig.sql(PAST)
    rig.control("faults", {"kind": "refresh_400_error"})
    mail(rig)
    rig.work()
    rig.sql("UPDATE connections SET refused_since = now() - interval '61 minutes', refreshing_until = NULL")
    rig.hurry()
    rig.work()
    assert rig.one("SELECT parked_cause FROM tenants") == "needs_reconnect"
    rig.heal()
    rig.sql("UPDATE connections SET keep_alive_at = now(), refreshing_until = NULL")
    keep_alive(rig.resources, tenant)
    rig.work()
    assert rig.one("SELECT parked_cause FROM tenants") is None
    assert tasks(rig) == [("done", None, 1)]
    assert rig.sql("SELECT refusals, refused_since FROM connections") == [(0, None)]


def test_connecting_anew_ends_the_wait_at_once(rig: Rig, tenant: int) -> None:
    rig.sql(PAST)
    rig.control("faults", {"kind": "refresh_400_error"})
    mail(rig)
    rig.work()
    rig.sql("UPDATE tenants SET not_before = now() + interval '10 minutes'")
    rig.heal()
    consent(rig, tenant, ACME)
    rig.work()
    assert tasks(rig) == [("done", None, 1)]


def test_others_wait_as_long_as_the_refusal_lasts(rig: Rig, tenant: int) -> None:
    rig.sql(PAST)
    rig.sql("UPDATE connections SET refreshing_until = now() + interval '5 minutes'")
    mail(rig)
    rig.work()
    assert refreshes(rig) == []
    assert rig.one("SELECT not_before > now() + interval '4 minutes' FROM tenants") is True
