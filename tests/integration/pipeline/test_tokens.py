"""OAuth tokens are refreshed in time and once, and concurrent changes never lose them."""

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
from tests.integration.pipeline.harness import Harness
from tests.integration.pipeline.oauth import (
    END_REFRESH_CLAIM,
    EXPIRE_TOKENS,
    confirmed_changes,
    connect_by_oauth,
    stored_grant,
    token_answers,
)

ACME, NORA = "cmp_acme", "nora@acme.example"
TO_NORA = [{"handle": NORA, "role": "to"}]
ENDING = "UPDATE connections SET expires_at = now() + interval '1 minute', updated_at = now() - interval '59 minutes'"
VERSION = "SELECT version FROM connections"


@pytest.fixture
def harness(database: str, redis_db: str, tmp_path: Path) -> Iterator[Harness]:
    """A Mailroom, and a Front that gives a new refresh token each time."""
    harness = Harness(database, redis_db, tmp_path / "files", rotate_refresh_tokens=True)
    yield harness
    harness.close()


@pytest.fixture
def tenant(harness: Harness) -> int:
    """Add a tenant with one user, connected by OAuth."""
    tenant = harness.tenant(ACME)
    harness.user(tenant, NORA)
    connect_by_oauth(harness, tenant, ACME)
    return tenant


def mail(harness: Harness, **order: Any) -> None:
    """Send and record a message that causes a task."""
    harness.send("inbound_received", ACME, recipients=TO_NORA, **order)
    harness.record()


def expire(harness: Harness) -> None:
    """Have Front refuse the access tokens before their expiry in our row."""
    harness.control(f"companies/{ACME}/tokens", {"do": "expire"})


def tasks(harness: Harness) -> list[tuple[Any, ...]]:
    return harness.sql("SELECT DISTINCT state, code, attempts FROM tasks")


def grant_of(harness: Harness, tenant: int) -> Grant:
    grant = harness.resources.pool.run(lambda conn: connections.read(conn, tenant))
    assert grant is not None
    return grant


def test_a_token_that_is_about_to_end_is_refreshed_before_it_is_used(harness: Harness, tenant: int) -> None:
    before = stored_grant(harness, tenant)
    harness.sql(ENDING)
    mail(harness, attachment_count=2)
    harness.work()
    assert token_answers(harness) == [200]
    assert tasks(harness) == [("done", None, 1)]
    assert harness.one("SELECT expires_at > now() + interval '50 minutes' FROM connections") is True
    after = stored_grant(harness, tenant)
    assert before.access_token != after.access_token
    assert before.refresh_token != after.refresh_token


def test_a_token_that_front_refuses_in_the_middle_is_replaced_and_costs_no_attempt(
    harness: Harness, tenant: int
) -> None:
    mail(harness, attachment_count=3)
    harness.resources.dispatcher.send_round()
    expire(harness)
    harness.work()
    assert token_answers(harness) == [200]
    assert tasks(harness) == [("done", None, 1)]
    assert len(confirmed_changes(harness)) == 1
    seen = [
        [call["status"] for call in calls] for (calls,) in harness.sql("SELECT calls FROM attempts ORDER BY task_id")
    ]
    assert [statuses for statuses in seen if 401 in statuses] == [[401, 200]]


def test_each_end_is_followed_by_one_refresh(harness: Harness, tenant: int) -> None:
    for count in range(1, 4):
        expire(harness)
        mail(harness, count=3)
        harness.work()
        assert token_answers(harness) == [200] * count
        assert harness.one(VERSION) == 2 + count  # the harness's API token, the consent, and one for each refresh


def test_a_fresh_token_that_is_refused_too_parks_the_tenant(harness: Harness, tenant: int) -> None:
    harness.control("faults", {"kind": "401", "path_regex": "^/conversations"})
    mail(harness)
    harness.work()
    assert token_answers(harness) == [200]
    assert harness.one("SELECT parked_cause FROM tenants") == "needs_reconnect"
    assert tasks(harness) == [("ready", "needs_reconnect", 0)]


def test_a_refresh_token_that_front_refuses_parks_the_tenant_until_it_is_connected_anew(
    harness: Harness, tenant: int
) -> None:
    mail(harness, count=5, attachment_count=1)
    harness.control(f"companies/{ACME}/tokens", {"do": "revoke"})
    harness.work()
    assert token_answers(harness) == [400]
    assert {row[:2] for row in harness.sql("SELECT state, attempts FROM tasks")} == {("ready", 0)}
    assert harness.sql("SELECT DISTINCT state, cause FROM shown_events") == [("parked", "needs_reconnect")]
    harness.sweep("keep_alive")
    assert not [name for name, _ in harness.messages.sent if name == queue.KEEP_ALIVE]
    connect_by_oauth(harness, tenant, ACME)
    harness.work()
    assert token_answers(harness) == [400]
    assert tasks(harness) == [("done", None, 1)]


def test_work_waits_while_the_token_endpoint_is_away_and_loses_no_attempt(harness: Harness, tenant: int) -> None:
    harness.sql(EXPIRE_TOKENS)
    harness.control("faults", {"kind": "503", "path_regex": "^/oauth/token"})
    mail(harness, count=5)
    harness.work()
    assert token_answers(harness) == [503]
    assert harness.one("SELECT not_before > now() FROM tenants") is True
    assert harness.sql("SELECT DISTINCT state, attempts FROM tasks") == [("ready", 0)]
    assert harness.sql("SELECT what FROM outages") == []
    harness.clear_faults()
    harness.make_due()
    harness.sql(END_REFRESH_CLAIM)
    harness.work()
    assert tasks(harness) == [("done", None, 1)]


def test_a_token_that_is_still_good_is_used_while_no_new_one_can_be_had(harness: Harness, tenant: int) -> None:
    harness.sql(ENDING)
    harness.control("faults", {"kind": "503", "path_regex": "^/oauth/token"})
    mail(harness, count=5)
    harness.work()
    assert token_answers(harness) == [503]
    assert tasks(harness) == [("done", None, 1)]


def test_while_somebody_else_refreshes_only_those_without_a_good_token_wait(harness: Harness, tenant: int) -> None:
    grant = grant_of(harness, tenant)
    assert harness.resources.pool.run(lambda conn: connections.claim_refresh(conn, grant, seconds=60)) is True
    assert harness.resources.pool.run(lambda conn: connections.claim_refresh(conn, grant, seconds=60)) is False
    harness.sql(ENDING)
    mail(harness)
    harness.work()
    assert tasks(harness) == [("done", None, 1)]
    harness.sql(EXPIRE_TOKENS)
    mail(harness)
    harness.work()
    assert harness.sql("SELECT state, code, attempts FROM tasks WHERE state <> 'done'") == [
        ("ready", "token_unavailable", 0)
    ]
    assert token_answers(harness) == []


def test_an_old_token_never_parks_a_tenant_that_was_connected_anew(harness: Harness, tenant: int) -> None:
    old = grant_of(harness, tenant)
    new = connect_by_oauth(harness, tenant, ACME)
    assert harness.resources.pool.run(lambda conn: connections.refuse_grant(conn, old)) is False
    assert harness.one("SELECT parked_cause FROM tenants") is None
    assert current_token(harness.resources, tenant, refused=old.version).access_token == new.access_token
    assert token_answers(harness) == []


def test_tokens_of_a_replaced_grant_do_not_replace_the_new_one(harness: Harness, tenant: int) -> None:
    old = grant_of(harness, tenant)
    new = connect_by_oauth(harness, tenant, ACME)
    harness.resources.pool.run(
        lambda conn: connections.store_refreshed(conn, old, secret=b"late", expires_at=old.updated_at)
    )
    assert stored_grant(harness, tenant) == new


def test_tokens_that_come_after_the_tenant_was_parked_release_it(harness: Harness, tenant: int) -> None:
    grant = grant_of(harness, tenant)
    harness.resources.pool.run(lambda conn: connections.refuse_grant(conn, grant))
    assert harness.one("SELECT parked_cause FROM tenants") == "needs_reconnect"
    harness.resources.pool.run(
        lambda conn: connections.store_refreshed(conn, grant, secret=grant.secret, expires_at=grant.updated_at)
    )
    assert harness.one("SELECT parked_cause FROM tenants") is None


def test_an_api_token_is_never_taken_to_the_token_endpoint(harness: Harness) -> None:
    harness.user(harness.tenant(ACME, token="refused"), NORA)
    mail(harness)
    harness.work()
    harness.sql("UPDATE connections SET updated_at = now() - interval '1 year'")
    harness.sweep("keep_alive")
    assert [name for name, _ in harness.messages.sent] == []
    assert harness.one("SELECT parked_cause FROM tenants") == "needs_reconnect"
    assert token_answers(harness) == []


def test_an_idle_tenants_tokens_are_refreshed_twice_a_day(harness: Harness, tenant: int) -> None:
    harness.sweep("keep_alive")
    assert harness.messages.sent == []
    harness.sql("UPDATE connections SET updated_at = updated_at - interval '12 h', keep_alive_at = now()")
    for _ in range(2):  # the first sweep has claimed it
        harness.sweep("keep_alive")
    assert harness.messages.sent == [(queue.KEEP_ALIVE, (tenant,))]
    for _ in range(2):  # a message may come twice
        keep_alive(harness.resources, tenant)
    assert token_answers(harness) == [200]
    assert harness.one("SELECT keep_alive_at > now() + interval '11 h' FROM connections") is True


def test_a_tenant_that_could_not_be_kept_alive_is_tried_again_within_the_hour(harness: Harness, tenant: int) -> None:
    harness.control("faults", {"kind": "503", "path_regex": "^/oauth/token"})
    harness.sql("UPDATE connections SET updated_at = updated_at - interval '12 h', keep_alive_at = now()")
    harness.sweep("keep_alive")
    keep_alive(harness.resources, tenant)
    assert token_answers(harness) == [503]
    assert harness.one("SELECT keep_alive_at < now() + interval '61 min' FROM connections") is True
    harness.clear_faults()
    harness.sql(END_REFRESH_CLAIM)
    keep_alive(harness.resources, tenant)
    assert token_answers(harness) == [503, 200]


def test_a_tenant_of_a_wrong_app_waits_and_is_not_told_to_connect(harness: Harness, tenant: int) -> None:
    harness.sandbox.front.grants.expire(ACME)
    object.__setattr__(harness.sandbox.front.settings, "client_secret", "another")
    mail(harness)
    harness.work()
    [(code, detail)] = harness.sql("SELECT code, detail FROM tasks")
    assert code == "token_unavailable"
    assert "check FRONT_CLIENT_ID and FRONT_CLIENT_SECRET" in detail
    assert harness.one("SELECT parked_cause FROM tenants") is None


def test_no_token_is_in_a_log_a_row_or_a_message(
    harness: Harness, tenant: int, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    first = stored_grant(harness, tenant)
    expire(harness)
    mail(harness, attachment_count=1)
    harness.resources.dispatcher.send_round()
    messages = list(harness.messages.sent)
    harness.work()
    second = stored_grant(harness, tenant)
    harness.control(f"companies/{ACME}/tokens", {"do": "revoke"})
    harness.sql("UPDATE connections SET updated_at = updated_at - interval '12 h', keep_alive_at = now()")
    harness.sweep("keep_alive")
    messages += harness.messages.sent
    keep_alive(harness.resources, tenant)
    tables = harness.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    rows = [harness.sql(f'SELECT t::text FROM "{name}" t') for (name,) in tables]
    shown = capsys.readouterr()
    everything = json.dumps(
        [rows, messages, caplog.text, shown.out, shown.err, repr(TenantConnection(harness.resources, tenant))]
    )
    secrets = {*vars(first).values(), *vars(second).values()}
    assert len(secrets) == 4
    assert [secret for secret in secrets if secret in everything] == []
    assert "needs_reconnect" in everything
    assert "token_refreshed" in everything


UNCLEAR = ["refresh_400_error", "refresh_400_invalid_request", "refresh_401_empty"]
CLEAR = ["refresh_400_invalid_grant", "refresh_401_invalid_grant", "refresh_200_invalid_grant"]


@pytest.mark.parametrize("kind", CLEAR)
def test_a_clear_refusal_parks_the_tenant_at_any_status(harness: Harness, tenant: int, kind: str) -> None:
    harness.sql(EXPIRE_TOKENS)
    harness.control("faults", {"kind": kind})
    mail(harness)
    harness.work()
    assert len(token_answers(harness)) == 1
    assert harness.one("SELECT parked_cause FROM tenants") == "needs_reconnect"


@pytest.mark.parametrize("kind", UNCLEAR)
def test_an_unclear_refusal_is_asked_ever_less_often_and_parks_after_an_hour(
    harness: Harness, tenant: int, kind: str
) -> None:
    harness.sql(EXPIRE_TOKENS)
    harness.control("faults", {"kind": kind})
    mail(harness, count=3)
    waits = []
    for _ in range(8):
        harness.make_due()
        harness.work()
        waits.append(harness.one("SELECT round(extract(epoch FROM refreshing_until - now()))::int FROM connections"))
        assert harness.one("SELECT not_before > now() FROM tenants") is True
        assert harness.one("SELECT parked_cause FROM tenants") is None
        harness.sql(END_REFRESH_CLAIM)
    assert waits == [10, 20, 40, 80, 160, 320, 600, 600]
    assert len(token_answers(harness)) == 8
    assert [each.tenant for each in harness.resources.pool.run(connections.refused_tenants)] == ["Acme"]
    harness.sql("UPDATE connections SET refused_since = now() - interval '61 minutes'")
    harness.make_due()
    harness.work()
    assert harness.one("SELECT parked_cause FROM tenants") == "needs_reconnect"
    assert harness.sql("SELECT DISTINCT state, attempts FROM tasks") == [("ready", 0)]
    assert [(each.tenant, each.parked) for each in harness.resources.pool.run(connections.refused_tenants)] == [
        ("Acme", True)
    ]


def test_a_refusal_that_was_fronts_mistake_ends_by_itself(harness: Harness, tenant: int) -> None:
    harness.sql(EXPIRE_TOKENS)
    harness.control("faults", {"kind": "refresh_400_error"})
    mail(harness)
    harness.work()
    harness.sql("UPDATE connections SET refused_since = now() - interval '61 minutes', refreshing_until = NULL")
    harness.make_due()
    harness.work()
    assert harness.one("SELECT parked_cause FROM tenants") == "needs_reconnect"
    harness.clear_faults()
    harness.sql("UPDATE connections SET keep_alive_at = now(), refreshing_until = NULL")
    keep_alive(harness.resources, tenant)
    harness.work()
    assert harness.one("SELECT parked_cause FROM tenants") is None
    assert tasks(harness) == [("done", None, 1)]
    assert harness.sql("SELECT refusals, refused_since FROM connections") == [(0, None)]


def test_connecting_anew_ends_the_wait_at_once(harness: Harness, tenant: int) -> None:
    harness.sql(EXPIRE_TOKENS)
    harness.control("faults", {"kind": "refresh_400_error"})
    mail(harness)
    harness.work()
    harness.sql("UPDATE tenants SET not_before = now() + interval '10 minutes'")
    harness.clear_faults()
    connect_by_oauth(harness, tenant, ACME)
    harness.work()
    assert tasks(harness) == [("done", None, 1)]


def test_others_wait_as_long_as_the_refusal_lasts(harness: Harness, tenant: int) -> None:
    harness.sql(EXPIRE_TOKENS)
    harness.sql("UPDATE connections SET refreshing_until = now() + interval '5 minutes'")
    mail(harness)
    harness.work()
    assert token_answers(harness) == []
    assert harness.one("SELECT not_before > now() + interval '4 minutes' FROM tenants") is True
