"""Webhooks in the odd forms that Front documents or sends: previews, times as text, tests of the door, other types."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.integration.pipeline.rig import NORA, TO_NORA, Rig


@pytest.fixture
def tenant(rig: Rig) -> int:
    tenant = rig.tenant("cmp_acme", action="trash")
    rig.user(tenant, NORA)
    return tenant


def inbound(rig: Rig, **order: Any) -> dict[str, Any]:
    [event] = rig.send("inbound_received", "cmp_acme", **{"recipients": TO_NORA, **order})
    return event


@pytest.mark.parametrize(
    "fault", ["preview_event", "preview_source", "preview_target", "preview_conversation", "preview_links_only"]
)
def test_a_preview_leads_to_its_own_message_and_inbox(rig: Rig, tenant: int, fault: str) -> None:
    inbox = rig.control("companies", {"id": "cmp_acme", "name": "Acme"})["inboxes"][0]["id"]
    rig.sql("UPDATE tenants SET only_inboxes = %s", [inbox])
    event = inbound(rig, attachment_count=1, fault=fault)
    # A newer message that must not be taken for it
    rig.send("outbound_sent", "cmp_acme", conversation=event["conversation_id"], attachment_count=2, dropped=1.0)
    rig.record()
    rig.work()
    [(message_id, conversation_id)] = rig.sql("SELECT message_id, conversation_id FROM events")
    assert (message_id, conversation_id) == (event["message_id"], event["conversation_id"])
    assert rig.sql("SELECT front_id, state FROM attachments") == [(event["attachment_ids"][0], "stored")]
    [(state, reason)] = rig.sql("SELECT state, reason FROM actions")
    assert not reason.startswith("other_inbox")
    assert state == "confirmed"


@pytest.mark.parametrize("fault", ["emitted_at_text", "emitted_at_iso"])
@pytest.mark.usefixtures("tenant")
def test_a_time_that_is_text_tells_the_age(rig: Rig, fault: str) -> None:
    old = inbound(rig, fault=fault, emitted_at=1_694_046_470.93)
    new = inbound(rig, fault=fault)
    rig.record()
    rig.work()
    assert rig.sql("SELECT extract(epoch FROM emitted_at)::float8 FROM events ORDER BY id LIMIT 1") == [
        (1_694_046_470.93,)
    ]
    assert [rig.status(event["conversation_id"]) for event in (old, new)] == ["open", "deleted"]
    assert rig.one("SELECT reason FROM actions ORDER BY event_id LIMIT 1").startswith("too_old")


@pytest.mark.parametrize("fault", ["emitted_at_unreadable", "no_emitted_at"])
@pytest.mark.usefixtures("tenant")
def test_mail_of_unknown_age_is_recorded_and_stored_but_changes_nothing(rig: Rig, fault: str) -> None:
    event = inbound(rig, fault=fault, attachment_count=1)
    rig.record()
    rig.work()
    assert rig.sql("SELECT state, emitted_at FROM events") == [("done", None)]
    assert rig.sql("SELECT state FROM attachments") == [("stored",)]
    [(state, reason)] = rig.sql("SELECT state, reason FROM actions")
    assert (state, reason.partition(":")[0]) == ("skipped", "unknown_age")
    assert rig.status(event["conversation_id"]) == "open"


@pytest.mark.usefixtures("tenant")
def test_a_fetched_message_of_unknown_age_changes_nothing_either(rig: Rig) -> None:
    [event] = rig.send("inbound_received", "cmp_acme", recipients=TO_NORA, dropped=1.0)
    target = {"_meta": {"type": "message"}, "id": event["message_id"]}
    payload = {"id": "evt_odd", "type": "inbound", "conversation": {"id": event["conversation_id"]}, "target": target}
    body = {"type": "inbound_received", "authorization": {"id": "cmp_acme"}, "payload": payload}
    rig.receive(json.dumps(body).encode())
    rig.record()
    rig.work()
    assert rig.one("SELECT reason FROM actions").startswith("unknown_age")
    assert rig.status(event["conversation_id"]) == "open"


@pytest.mark.usefixtures("tenant")
def test_an_event_of_unknown_age_counts_as_newer_than_what_came_before(rig: Rig) -> None:
    rig.control("faults", {"kind": "404_heals", "path_regex": "/download/", "count": 1})
    first = inbound(rig, attachment_count=1)
    rig.record()
    rig.work()
    rig.send("conversation_reopened", "cmp_acme", conversation=first["conversation_id"], fault="no_emitted_at")
    rig.record()
    rig.hurry()
    rig.work()
    assert rig.status(first["conversation_id"]) == "open"
    assert rig.sql("SELECT state FROM actions") == [("superseded",)]


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
def test_a_test_of_the_door_leaves_nothing(rig: Rig, body: dict[str, Any]) -> None:
    for _ in range(2):
        rig.receive(json.dumps(body).encode())
    inbound(rig)
    rig.receive(json.dumps(body).encode())
    assert rig.record() == 4
    assert rig.sql("SELECT type FROM events") == [("inbound_received",)]
    assert [rig.one(f"SELECT count(*)::int FROM {table}") for table in ("deliveries", "in_flight_entries")] == [1, 0]
    assert rig.resources.intake.depth() == 0


@pytest.mark.parametrize(
    "event_type",
    ["mention", "forward", "sending_error", "custom_field_updated", "ticket_status_update", "call_started"],
)
@pytest.mark.usefixtures("tenant")
def test_an_event_of_fronts_document_is_known(rig: Rig, event_type: str) -> None:
    rig.send(event_type, "cmp_acme")
    rig.record()
    name = "message_delivery_failed" if event_type == "sending_error" else event_type
    assert rig.sql("SELECT type, state, cause FROM events") == [(name, "done", None)]


def merges(rig: Rig) -> list[tuple[Any, ...]]:
    return rig.sql("SELECT conversation_id, merged_into FROM merged_conversations ORDER BY 1")


@pytest.mark.usefixtures("tenant")
def test_a_merge_is_learned_at_once_and_keeps_the_trash_from_a_file_of_the_other(rig: Rig) -> None:
    rig.control("faults", {"kind": "404_heals", "path_regex": "/download/", "count": 1})
    gone = inbound(rig, attachment_count=1)
    rig.record()
    rig.work()  # the file is not there yet
    kept = inbound(rig)
    ids = {"conversation": kept["conversation_id"], "merges": [gone["conversation_id"]]}
    rig.send("conversations_merged", "cmp_acme", **ids)
    rig.record()
    assert merges(rig) == [(gone["conversation_id"], kept["conversation_id"])]
    rig.work()
    assert rig.status(kept["conversation_id"]) == "open"
    rig.hurry()
    rig.work()
    assert rig.status(kept["conversation_id"]) == "deleted"


@pytest.mark.usefixtures("tenant")
def test_late_and_repeated_merges_make_no_circle(rig: Rig) -> None:
    def merge(survivor: str, *gone: str) -> None:
        target = {"_meta": {"type": "deleted_conversation_ids"}, "data": list(gone)}
        event = {"id": f"evt_{survivor}_{gone[0]}", "conversation": {"id": survivor}, "target": target}
        body = {"type": "conversations_merged", "authorization": {"id": "cmp_acme"}, "payload": event}
        rig.receive(json.dumps(body).encode())

    merge("cnv_2", "cnv_1", "cnv_2")
    merge("cnv_3", "cnv_2")
    merge("cnv_1", "cnv_3")
    merge("cnv_4", "cnv_1")
    rig.record()
    assert merges(rig) == [("cnv_1", "cnv_2"), ("cnv_2", "cnv_3")]


def test_a_parked_merge_is_learned_when_its_tenant_comes(rig: Rig) -> None:
    rig.control("companies", {"id": "cmp_acme", "name": "Acme"})
    rig.send("conversations_merged", "cmp_acme", conversation="cnv_9", merges=["cnv_8"])
    rig.record()
    assert (rig.one("SELECT state FROM events"), merges(rig)) == ("parked", [])
    rig.tenant("cmp_acme")
    rig.sweep("adopt")
    assert merges(rig) == [("cnv_8", "cnv_9")]
