"""Webhooks in the odd forms that Front documents or sends: previews, times as text, tests of the door, other types."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.integration.pipeline.harness import NORA, TO_NORA, Harness


@pytest.fixture
def tenant(harness: Harness) -> int:
    tenant = harness.tenant("cmp_acme", action="trash")
    harness.user(tenant, NORA)
    return tenant


def inbound(harness: Harness, **order: Any) -> dict[str, Any]:
    [event] = harness.send("inbound_received", "cmp_acme", **{"recipients": TO_NORA, **order})
    return event


@pytest.mark.parametrize(
    "fault", ["preview_event", "preview_source", "preview_target", "preview_conversation", "preview_links_only"]
)
def test_a_preview_leads_to_its_own_message_and_inbox(harness: Harness, tenant: int, fault: str) -> None:
    inbox = harness.control("companies", {"id": "cmp_acme", "name": "Acme"})["inboxes"][0]["id"]
    harness.sql("UPDATE tenants SET only_inboxes = %s", [inbox])
    event = inbound(harness, attachment_count=1, fault=fault)
    # A newer message that must not be taken for it
    harness.send("outbound_sent", "cmp_acme", conversation=event["conversation_id"], attachment_count=2, dropped=1.0)
    harness.record()
    harness.work()
    [(message_id, conversation_id)] = harness.sql("SELECT message_id, conversation_id FROM events")
    assert (message_id, conversation_id) == (event["message_id"], event["conversation_id"])
    assert harness.sql("SELECT front_id, state FROM attachments") == [(event["attachment_ids"][0], "stored")]
    [(state, reason)] = harness.sql("SELECT state, reason FROM actions")
    assert not reason.startswith("other_inbox")
    assert state == "confirmed"


@pytest.mark.parametrize("fault", ["emitted_at_text", "emitted_at_iso"])
@pytest.mark.usefixtures("tenant")
def test_a_time_that_is_text_tells_the_age(harness: Harness, fault: str) -> None:
    old = inbound(harness, fault=fault, emitted_at=1_694_046_470.93)
    new = inbound(harness, fault=fault)
    harness.record()
    harness.work()
    assert harness.sql("SELECT extract(epoch FROM emitted_at)::float8 FROM events ORDER BY id LIMIT 1") == [
        (1_694_046_470.93,)
    ]
    assert [harness.status(event["conversation_id"]) for event in (old, new)] == ["open", "deleted"]
    assert harness.one("SELECT reason FROM actions ORDER BY event_id LIMIT 1").startswith("too_old")


@pytest.mark.parametrize("fault", ["emitted_at_unreadable", "no_emitted_at"])
@pytest.mark.usefixtures("tenant")
def test_mail_of_unknown_age_is_recorded_and_stored_but_changes_nothing(harness: Harness, fault: str) -> None:
    event = inbound(harness, fault=fault, attachment_count=1)
    harness.record()
    harness.work()
    assert harness.sql("SELECT state, emitted_at FROM events") == [("done", None)]
    assert harness.sql("SELECT state FROM attachments") == [("stored",)]
    [(state, reason)] = harness.sql("SELECT state, reason FROM actions")
    assert (state, reason.partition(":")[0]) == ("skipped", "unknown_age")
    assert harness.status(event["conversation_id"]) == "open"


@pytest.mark.usefixtures("tenant")
def test_a_fetched_message_of_unknown_age_changes_nothing_either(harness: Harness) -> None:
    [event] = harness.send("inbound_received", "cmp_acme", recipients=TO_NORA, dropped=1.0)
    target = {"_meta": {"type": "message"}, "id": event["message_id"]}
    payload = {"id": "evt_odd", "type": "inbound", "conversation": {"id": event["conversation_id"]}, "target": target}
    body = {"type": "inbound_received", "authorization": {"id": "cmp_acme"}, "payload": payload}
    harness.receive(json.dumps(body).encode())
    harness.record()
    harness.work()
    assert harness.one("SELECT reason FROM actions").startswith("unknown_age")
    assert harness.status(event["conversation_id"]) == "open"


@pytest.mark.usefixtures("tenant")
def test_an_event_of_unknown_age_counts_as_newer_than_what_came_before(harness: Harness) -> None:
    harness.control("faults", {"kind": "404_heals", "path_regex": "/download/", "count": 1})
    first = inbound(harness, attachment_count=1)
    harness.record()
    harness.work()
    harness.send("conversation_reopened", "cmp_acme", conversation=first["conversation_id"], fault="no_emitted_at")
    harness.record()
    harness.make_due()
    harness.work()
    assert harness.status(first["conversation_id"]) == "open"
    assert harness.sql("SELECT state FROM actions") == [("superseded",)]


@pytest.mark.parametrize(
    "body",
    [
        {"type": "sync", "authorization": {"id": "cmp_acme"}},
        {"type": "sync", "authorization": {"id": "cmp_nobody"}},
        {"type": "sync"},
        {"type": "sync", "authorization": {"id": "cmp_acme"}, "padding": "x" * 5_000},
        {"type": "sync", "authorization": {"id": "cmp_acme"}, "payload": None},
    ],
)
@pytest.mark.usefixtures("tenant")
def test_a_test_of_the_door_leaves_nothing(harness: Harness, body: dict[str, Any]) -> None:
    for _ in range(2):
        harness.receive(json.dumps(body).encode())
    inbound(harness)
    harness.receive(json.dumps(body).encode())
    assert harness.record() == 4
    assert harness.sql("SELECT type FROM events") == [("inbound_received",)]
    assert [harness.one(f"SELECT count(*)::int FROM {table}") for table in ("deliveries", "in_flight_entries")] == [
        1,
        0,
    ]
    assert harness.resources.intake.depth() == 0


@pytest.mark.parametrize(
    "event_type",
    ["mention", "forward", "sending_error", "custom_field_updated", "ticket_status_update", "call_started"],
)
@pytest.mark.usefixtures("tenant")
def test_an_event_of_fronts_document_is_known(harness: Harness, event_type: str) -> None:
    harness.send(event_type, "cmp_acme")
    harness.record()
    name = "message_delivery_failed" if event_type == "sending_error" else event_type
    assert harness.sql("SELECT type, state, cause FROM events") == [(name, "done", None)]


def merges(harness: Harness) -> list[tuple[Any, ...]]:
    return harness.sql("SELECT conversation_id, merged_into FROM merged_conversations ORDER BY 1")


@pytest.mark.usefixtures("tenant")
def test_a_merge_is_learned_at_once_and_keeps_the_trash_from_a_file_of_the_other(harness: Harness) -> None:
    harness.control("faults", {"kind": "404_heals", "path_regex": "/download/", "count": 1})
    gone = inbound(harness, attachment_count=1)
    harness.record()
    harness.work()  # the file is not there yet
    kept = inbound(harness)
    ids = {"conversation": kept["conversation_id"], "merges": [gone["conversation_id"]]}
    harness.send("conversations_merged", "cmp_acme", **ids)
    harness.record()
    assert merges(harness) == [(gone["conversation_id"], kept["conversation_id"])]
    harness.work()
    assert harness.status(kept["conversation_id"]) == "open"
    harness.make_due()
    harness.work()
    assert harness.status(kept["conversation_id"]) == "deleted"


@pytest.mark.usefixtures("tenant")
def test_late_and_repeated_merges_make_no_circle(harness: Harness) -> None:
    def merge(survivor: str, *gone: str) -> None:
        target = {"_meta": {"type": "deleted_conversation_ids"}, "data": list(gone)}
        event = {"id": f"evt_{survivor}_{gone[0]}", "conversation": {"id": survivor}, "target": target}
        body = {"type": "conversations_merged", "authorization": {"id": "cmp_acme"}, "payload": event}
        harness.receive(json.dumps(body).encode())

    merge("cnv_2", "cnv_1", "cnv_2")
    merge("cnv_3", "cnv_2")
    merge("cnv_1", "cnv_3")
    merge("cnv_4", "cnv_1")
    harness.record()
    assert merges(harness) == [("cnv_1", "cnv_2"), ("cnv_2", "cnv_3")]


def test_a_parked_merge_is_learned_when_its_tenant_comes(harness: Harness) -> None:
    harness.control("companies", {"id": "cmp_acme", "name": "Acme"})
    harness.send("conversations_merged", "cmp_acme", conversation="cnv_9", merges=["cnv_8"])
    harness.record()
    assert (harness.one("SELECT state FROM events"), merges(harness)) == ("parked", [])
    harness.tenant("cmp_acme")
    harness.sweep("adopt")
    assert merges(harness) == [("cnv_8", "cnv_9")]
