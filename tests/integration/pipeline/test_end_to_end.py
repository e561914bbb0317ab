"""A webhook leads to an archived conversation, with real stores and the sandbox."""

from __future__ import annotations

from tests.integration.pipeline.harness import Harness

TO_NORA = [{"handle": "sender@elsewhere.example", "role": "from"}, {"handle": "Nora@acme.example", "role": "to"}]


def test_an_inbound_message_for_a_user_is_stored_and_its_conversation_archived(harness: Harness) -> None:
    tenant = harness.tenant("cmp_acme")
    harness.user(tenant, "nora@acme.example")
    [event] = harness.send("inbound_received", "cmp_acme", recipients=TO_NORA, attachment_count=2, expect="archived")
    assert harness.record() == 1
    harness.work()
    assert harness.status(event["conversation_id"]) == "archived"
    assert harness.sql("SELECT state, count(*)::int FROM attachments GROUP BY 1") == [("stored", 2)]
    assert harness.sql("SELECT state, reason FROM actions") == [("confirmed", "applied")]
    assert harness.one("SELECT state FROM events") == "done"
    assert harness.control("verdict")["lost"] == 0
