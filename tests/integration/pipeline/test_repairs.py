"""What no webhook brought is found on Front's list, recorded and done once."""

from __future__ import annotations

import zlib
from typing import Any

import pytest

from shared import failpoints
from shared.db import repairs
from tests.integration.pipeline.mending import ACME, CLEAN, acme, ago, ask, follow, mail, one_slice, outcome, verdict
from tests.integration.pipeline.rig import TO_NORA, Rig


def test_dropped_webhooks_are_repaired_and_every_event_is_done_once(rig: Rig) -> None:
    tenant = acme(rig)
    sent = mail(rig, count=100, dropped=0.3)
    rig.record()
    rig.work()
    dropped = sum(event["status"] is None for event in sent)
    assert 10 <= dropped <= 60
    assert verdict(rig)["unserved"] == dropped
    ask(rig, tenant)
    follow(rig)
    assert outcome(rig) == [("done", 101, 101 - dropped, dropped, dropped)]
    assert verdict(rig) == CLEAN
    assert rig.one("SELECT count(*)::int FROM deliveries WHERE origin = 'repaired'") == dropped
    assert rig.sql("SELECT DISTINCT state FROM events") == [("done",)]
    assert len(rig.writes()) == 101


def test_a_second_repair_finds_nothing(rig: Rig) -> None:
    tenant = acme(rig)
    mail(rig, count=20, dropped=0.5)
    rig.record()
    for _ in range(2):
        ask(rig, tenant)
        follow(rig)
    [first, second] = outcome(rig)
    assert first[3] > 0
    assert second == ("done", 21, 21, 0, 0)
    assert verdict(rig) == CLEAN


def test_a_dry_run_counts_by_the_hour_and_feeds_nothing(rig: Rig) -> None:
    tenant = acme(rig)
    mail(rig, count=5, deliver=False)
    ask(rig, tenant, dry_run=True)
    follow(rig)
    assert outcome(rig) == [("done", 6, 1, 5, 0)]
    hours = rig.one("SELECT hours FROM repairs")
    assert [sum(each) for each in zip(*hours.values(), strict=True)] == [6, 5]
    assert rig.sql("SELECT 1 FROM spooled_deliveries") == []
    assert verdict(rig)["unserved"] == 5
    assert rig.one("SELECT count(*)::int FROM repair_progress WHERE repaired_until IS NOT NULL") == 0


def test_old_mail_of_a_new_tenant_is_neither_recorded_nor_touched(rig: Rig) -> None:
    tenant = acme(rig)
    writes = len(rig.writes())
    rig.send("inbound_received", ACME, recipients=TO_NORA, count=10_000, deliver=False, emitted_at=ago(60 * 24))
    rig.sql("UPDATE repair_progress SET repaired_until = '-infinity'")
    ask(rig, tenant, hours=24 * 365)
    follow(rig)
    assert outcome(rig) == [("done", 1, 1, 0, 0)]
    assert len(rig.writes()) == writes
    assert rig.one("SELECT count(*)::int FROM events") == 1


def test_what_is_older_than_the_tenant_acts_on_is_recorded_only(rig: Rig) -> None:
    tenant = acme(rig, act_within="5 minutes")
    mail(rig, count=3, deliver=False, expect=None)
    writes = len(rig.writes())
    ask(rig, tenant)
    follow(rig)
    assert rig.sql("SELECT state, left(reason, 7) FROM actions WHERE state = 'skipped' GROUP BY 1, 2") == [
        ("skipped", "too_old")
    ]
    assert rig.one("SELECT count(*)::int FROM events") == 4
    assert len(rig.writes()) == writes


def test_what_happens_in_private_inboxes_is_never_recorded(rig: Rig) -> None:
    tenant = acme(rig)
    opened = rig.control(f"companies/{ACME}/inboxes", {"name": "Ines", "address": "i@acme.example", "is_private": True})
    for event_type in ("inbound_received", "conversation_archived"):
        rig.send(event_type, ACME, deliver=True, emitted_at=ago(30))
        rig.send(event_type, ACME, recipients=TO_NORA, count=20, inbox=opened["id"], emitted_at=ago(10))
    rig.record()
    rig.work()
    events = rig.one("SELECT count(*)::int FROM events")
    ask(rig, tenant)
    follow(rig)
    assert outcome(rig) == [("done", events, events, 0, 0)]
    assert rig.one("SELECT count(*)::int FROM events") == events


def test_only_events_that_came_by_webhook_before_are_looked_for(rig: Rig) -> None:
    tenant = acme(rig)
    rig.send("tag_added", ACME, count=5, deliver=False, emitted_at=ago(10))
    ask(rig, tenant)
    follow(rig)
    assert outcome(rig) == [("done", 1, 1, 0, 0)]


def test_before_the_first_webhook_there_is_nothing_to_compare_and_it_is_said(rig: Rig) -> None:
    tenant = rig.tenant(ACME)
    mail(rig, deliver=False)
    ask(rig, tenant, hours=2)
    follow(rig)
    assert "no webhook was received yet" in rig.one("SELECT detail FROM repairs")
    assert rig.control("ledger/calls")["calls"] == []
    assert rig.sql("SELECT repaired_until FROM repair_progress") == [(None,)]


def test_an_event_that_waits_in_the_intake_is_recorded_once(rig: Rig) -> None:
    tenant = acme(rig)
    mail(rig, count=3)
    ask(rig, tenant)
    follow(rig)
    assert verdict(rig) == CLEAN
    assert rig.one("SELECT count(*)::int FROM events") == 4
    assert rig.one("SELECT count(*)::int FROM actions WHERE state = 'confirmed'") == 4


def test_a_webhook_that_comes_after_its_event_was_repaired_changes_nothing(rig: Rig) -> None:
    tenant = acme(rig)
    mail(rig, deliver=False)
    ask(rig, tenant)
    follow(rig)
    raw = rig.one("SELECT body FROM deliveries WHERE origin = 'repaired'")
    rig.receive(zlib.decompress(raw))
    rig.record()
    rig.work()
    assert rig.one("SELECT count(*)::int FROM events") == 2
    assert verdict(rig) == CLEAN


def test_a_mark_moves_with_what_was_compared_and_leaves_nothing_out(rig: Rig) -> None:
    tenant = acme(rig)
    ask(rig, tenant, hours=0.5)
    follow(rig)
    assert rig.sql("SELECT repaired_until FROM repair_progress") == [(None,)]  # half an hour lies between
    ask(rig, tenant, hours=2)
    follow(rig)
    assert 1 < rig.one("SELECT extract(epoch FROM now() - repaired_until)::float8 / 60 FROM repair_progress") < 3


def test_the_periodic_repair_goes_on_from_the_mark(rig: Rig) -> None:
    acme(rig)
    rig.sweep("begin_repairs")
    follow(rig)
    mail(rig, count=4, deliver=False, emitted_at=ago(5))
    rig.sweep("begin_repairs")
    assert len(outcome(rig)) == 1  # not yet
    rig.sql("UPDATE repair_progress SET next_at = now()")
    rig.sweep("begin_repairs")
    follow(rig)
    assert outcome(rig) == [("done", 4, 0, 4, 4)]  # the first found nothing and is forgotten
    assert rig.one("SELECT until - since < interval '12 minutes' FROM repairs") is True
    assert verdict(rig) == CLEAN


@pytest.mark.parametrize("cause", ["paused", "needs_reconnect"])
def test_a_parked_tenant_is_left_alone_until_it_is_released(rig: Rig, cause: str) -> None:
    tenant = acme(rig)
    mail(rig, deliver=False)
    rig.sql("UPDATE tenants SET parked_cause = %s", cause)
    rig.sweep("begin_repairs")
    ask(rig, tenant)
    assert (one_slice(rig), [row[0] for row in outcome(rig)]) == (0, ["waiting"])
    rig.sql("UPDATE tenants SET parked_cause = NULL")
    follow(rig)
    assert verdict(rig) == CLEAN


def test_a_stopped_repair_writes_nothing_more(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    tenant = acme(rig)
    mail(rig, count=40, deliver=False)

    def stop(_: str) -> Any:
        rig.resources.pool.run(lambda conn: repairs.stop_repairs(conn, tenant, who="a person"))

    ask(rig, tenant)
    with monkeypatch.context() as patched:
        patched.setattr(failpoints, "reach", stop)
        one_slice(rig)
    assert outcome(rig) == [("stopped", 15, 1, 14, 14)]
    rig.record()
    assert rig.one("SELECT count(*)::int FROM events") == 15


def test_what_happens_while_the_pages_are_read_is_found_once(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    tenant = acme(rig)
    mail(rig, count=40, deliver=False)
    more = iter([5.0, 4.0])

    def go_on_happening(_: str) -> None:
        if minutes := next(more, None):
            mail(rig, count=10, deliver=False, emitted_at=ago(minutes))

    ask(rig, tenant)
    with monkeypatch.context() as patched:
        patched.setattr(failpoints, "reach", go_on_happening)
        one_slice(rig)
    follow(rig)
    assert outcome(rig) == [("done", 61, 1, 60, 60)]
    assert verdict(rig) == CLEAN
