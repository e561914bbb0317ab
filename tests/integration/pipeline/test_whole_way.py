"""From webhook to archived conversation, over real stores and the sandbox."""

from __future__ import annotations

from tests.integration.pipeline.rig import Rig

TO_NORA = [{"handle": "sender@elsewhere.example", "role": "from"}, {"handle": "Nora@acme.example", "role": "to"}]


def test_an_inbound_message_for_a_user_is_stored_and_its_conversation_archived(rig: Rig) -> None:
    tenant = rig.tenant("cmp_acme")
    rig.user(tenant, "nora@acme.example")
    [event] = rig.send("inbound_received", "cmp_acme", recipients=TO_NORA, attachment_count=2, expect="archived")
    assert rig.record() == 1
    rig.work()
    assert rig.status(event["conversation_id"]) == "archived"
    assert rig.sql("SELECT state, count(*)::int FROM attachments GROUP BY 1") == [("stored", 2)]
    assert rig.sql("SELECT state, reason FROM actions") == [("confirmed", "applied")]
    assert rig.one("SELECT state FROM events") == "done"
    assert rig.control("verdict")["lost"] == 0
