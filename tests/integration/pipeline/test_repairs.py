"""Events without a webhook are found on Front's list, recorded, and processed once."""

from __future__ import annotations

import zlib
from typing import Any

import pytest

from shared import failpoints
from shared.db import repairs
from tests.integration.pipeline.harness import TO_NORA, Harness
from tests.integration.pipeline.repairing import (
    ACME,
    CLEAN,
    acme,
    ago,
    finish_repairs,
    mail,
    outcome,
    request_repair,
    run_slices,
    verdict,
)


def test_dropped_webhooks_are_repaired_and_every_event_is_done_once(harness: Harness) -> None:
    tenant = acme(harness)
    sent = mail(harness, count=100, dropped=0.3)
    harness.record()
    harness.work()
    dropped = sum(event["status"] is None for event in sent)
    assert 10 <= dropped <= 60
    assert verdict(harness)["unserved"] == dropped
    request_repair(harness, tenant)
    finish_repairs(harness)
    assert outcome(harness) == [("done", 101, 101 - dropped, dropped, dropped)]
    assert verdict(harness) == CLEAN
    assert harness.one("SELECT count(*)::int FROM deliveries WHERE origin = 'repaired'") == dropped
    assert harness.sql("SELECT DISTINCT state FROM events") == [("done",)]
    assert len(harness.writes()) == 101


def test_a_second_repair_finds_nothing(harness: Harness) -> None:
    tenant = acme(harness)
    mail(harness, count=20, dropped=0.5)
    harness.record()
    for _ in range(2):
        request_repair(harness, tenant)
        finish_repairs(harness)
    [first, second] = outcome(harness)
    assert first[3] > 0
    assert second == ("done", 21, 21, 0, 0)
    assert verdict(harness) == CLEAN


def test_a_dry_run_counts_by_the_hour_and_feeds_nothing(harness: Harness) -> None:
    tenant = acme(harness)
    mail(harness, count=5, deliver=False)
    request_repair(harness, tenant, dry_run=True)
    finish_repairs(harness)
    assert outcome(harness) == [("done", 6, 1, 5, 0)]
    hours = harness.one("SELECT hours FROM repairs")
    assert [sum(each) for each in zip(*hours.values(), strict=True)] == [6, 5]
    assert harness.sql("SELECT 1 FROM spooled_deliveries") == []
    assert verdict(harness)["unserved"] == 5
    assert harness.one("SELECT count(*)::int FROM repair_progress WHERE repaired_until IS NOT NULL") == 0


def test_old_mail_of_a_new_tenant_is_neither_recorded_nor_touched(harness: Harness) -> None:
    tenant = acme(harness)
    writes = len(harness.writes())
    harness.send("inbound_received", ACME, recipients=TO_NORA, count=10_000, deliver=False, emitted_at=ago(60 * 24))
    harness.sql("UPDATE repair_progress SET repaired_until = '-infinity'")
    request_repair(harness, tenant, hours=24 * 365)
    finish_repairs(harness)
    assert outcome(harness) == [("done", 1, 1, 0, 0)]
    assert len(harness.writes()) == writes
    assert harness.one("SELECT count(*)::int FROM events") == 1


def test_events_older_than_act_within_are_recorded_only(harness: Harness) -> None:
    tenant = acme(harness, act_within="5 minutes")
    mail(harness, count=3, deliver=False, expect=None)
    writes = len(harness.writes())
    request_repair(harness, tenant)
    finish_repairs(harness)
    assert harness.sql("SELECT state, left(reason, 7) FROM actions WHERE state = 'skipped' GROUP BY 1, 2") == [
        ("skipped", "too_old")
    ]
    assert harness.one("SELECT count(*)::int FROM events") == 4
    assert len(harness.writes()) == writes


def test_events_of_private_inboxes_are_never_recorded(harness: Harness) -> None:
    tenant = acme(harness)
    opened = harness.control(
        f"companies/{ACME}/inboxes", {"name": "Ines", "address": "i@acme.example", "is_private": True}
    )
    for event_type in ("inbound_received", "conversation_archived"):
        harness.send(event_type, ACME, deliver=True, emitted_at=ago(30))
        harness.send(event_type, ACME, recipients=TO_NORA, count=20, inbox=opened["id"], emitted_at=ago(10))
    harness.record()
    harness.work()
    events = harness.one("SELECT count(*)::int FROM events")
    request_repair(harness, tenant)
    finish_repairs(harness)
    assert outcome(harness) == [("done", events, events, 0, 0)]
    assert harness.one("SELECT count(*)::int FROM events") == events


def test_only_events_that_came_by_webhook_before_are_looked_for(harness: Harness) -> None:
    tenant = acme(harness)
    harness.send("tag_added", ACME, count=5, deliver=False, emitted_at=ago(10))
    request_repair(harness, tenant)
    finish_repairs(harness)
    assert outcome(harness) == [("done", 1, 1, 0, 0)]


def test_before_the_first_webhook_there_is_nothing_to_compare_and_it_is_said(harness: Harness) -> None:
    tenant = harness.tenant(ACME)
    mail(harness, deliver=False)
    request_repair(harness, tenant, hours=2)
    finish_repairs(harness)
    assert "no webhook was received yet" in harness.one("SELECT detail FROM repairs")
    assert harness.control("ledger/calls")["calls"] == []
    assert harness.sql("SELECT repaired_until FROM repair_progress") == [(None,)]


def test_an_event_that_waits_in_the_intake_is_recorded_once(harness: Harness) -> None:
    tenant = acme(harness)
    mail(harness, count=3)
    request_repair(harness, tenant)
    finish_repairs(harness)
    assert verdict(harness) == CLEAN
    assert harness.one("SELECT count(*)::int FROM events") == 4
    assert harness.one("SELECT count(*)::int FROM actions WHERE state = 'confirmed'") == 4


def test_a_webhook_that_comes_after_its_event_was_repaired_changes_nothing(harness: Harness) -> None:
    tenant = acme(harness)
    mail(harness, deliver=False)
    request_repair(harness, tenant)
    finish_repairs(harness)
    raw = harness.one("SELECT body FROM deliveries WHERE origin = 'repaired'")
    harness.receive(zlib.decompress(raw))
    harness.record()
    harness.work()
    assert harness.one("SELECT count(*)::int FROM events") == 2
    assert verdict(harness) == CLEAN


def test_a_mark_moves_with_what_was_compared_and_leaves_nothing_out(harness: Harness) -> None:
    tenant = acme(harness)
    request_repair(harness, tenant, hours=0.5)
    finish_repairs(harness)
    assert harness.sql("SELECT repaired_until FROM repair_progress") == [(None,)]  # half an hour lies between the two
    request_repair(harness, tenant, hours=2)
    finish_repairs(harness)
    assert 1 < harness.one("SELECT extract(epoch FROM now() - repaired_until)::float8 / 60 FROM repair_progress") < 3


def test_the_periodic_repair_goes_on_from_the_mark(harness: Harness) -> None:
    acme(harness)
    harness.sweep("begin_repairs")
    finish_repairs(harness)
    mail(harness, count=4, deliver=False, emitted_at=ago(5))
    harness.sweep("begin_repairs")
    assert len(outcome(harness)) == 1  # the next repair is not due yet
    harness.sql("UPDATE repair_progress SET next_at = now()")
    harness.sweep("begin_repairs")
    finish_repairs(harness)
    assert outcome(harness) == [("done", 4, 0, 4, 4)]  # the first repair found nothing and was deleted
    assert harness.one("SELECT until - since < interval '12 minutes' FROM repairs") is True
    assert verdict(harness) == CLEAN


@pytest.mark.parametrize("cause", ["paused", "needs_reconnect"])
def test_a_parked_tenant_is_left_alone_until_it_is_released(harness: Harness, cause: str) -> None:
    tenant = acme(harness)
    mail(harness, deliver=False)
    harness.sql("UPDATE tenants SET parked_cause = %s", cause)
    harness.sweep("begin_repairs")
    request_repair(harness, tenant)
    assert (run_slices(harness), [row[0] for row in outcome(harness)]) == (0, ["waiting"])
    harness.sql("UPDATE tenants SET parked_cause = NULL")
    finish_repairs(harness)
    assert verdict(harness) == CLEAN


def test_a_stopped_repair_writes_nothing_more(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    tenant = acme(harness)
    mail(harness, count=40, deliver=False)

    def stop(_: str) -> Any:
        harness.resources.pool.run(lambda conn: repairs.stop_repairs(conn, tenant, who="a person"))

    request_repair(harness, tenant)
    with monkeypatch.context() as patched:
        patched.setattr(failpoints, "reach", stop)
        run_slices(harness)
    assert outcome(harness) == [("stopped", 15, 1, 14, 14)]
    harness.record()
    assert harness.one("SELECT count(*)::int FROM events") == 15


def test_events_that_happen_while_pages_are_read_are_found_once(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = acme(harness)
    mail(harness, count=40, deliver=False)
    more = iter([5.0, 4.0])

    def send_more_events(_: str) -> None:
        if minutes := next(more, None):
            mail(harness, count=10, deliver=False, emitted_at=ago(minutes))

    request_repair(harness, tenant)
    with monkeypatch.context() as patched:
        patched.setattr(failpoints, "reach", send_more_events)
        run_slices(harness)
    finish_repairs(harness)
    assert outcome(harness) == [("done", 61, 1, 60, 60)]
    assert verdict(harness) == CLEAN
