"""Messages are announced to the host application once, when all of them is known and settled, and numbered in order."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.db.host import facts, outbox
from shared.host.body import build
from shared.host.notification import NotificationFacts
from tests.integration.pipeline.harness import NORA, TO_NORA, Harness
from tests.integration.pipeline.test_recording import envelope
from tests.unit.host.builders import LINKS, checked

ACME = "cmp_acme"
TO_NOBODY = [{"handle": "nobody@acme.example", "role": "to"}]


@pytest.fixture
def acme(harness: Harness) -> Harness:
    """A tenant with the user Nora, and nothing announced yet."""
    harness.user(harness.tenant(ACME), NORA)
    harness.sql("DELETE FROM outbox")
    return harness


def waiting(harness: Harness) -> list[tuple[str, str]]:
    """Return the type of each notification without a position, with Front's id of its event."""
    return harness.sql("SELECT o.type, e.front_id FROM outbox o JOIN events e ON e.id = o.event_id ORDER BY o.id")


def types(harness: Harness) -> list[str]:
    return [kind for kind, _ in waiting(harness)]


def read(harness: Harness) -> list[NotificationFacts]:
    """Number everything and read it."""
    harness.resources.pool.run(outbox.number)
    positions = [position for (position,) in harness.sql("SELECT position FROM notifications ORDER BY 1")]
    return harness.resources.pool.run(lambda conn: facts.load(conn, positions))


@pytest.mark.parametrize(
    ("event_type", "recipients", "expected"),
    [
        ("inbound_received", TO_NORA, ["message.received"]),
        ("inbound_received", TO_NOBODY, ["message.unmatched"]),
        ("outbound_sent", TO_NOBODY, ["message.sent"]),
        ("conversation_archived", TO_NORA, []),
        ("something_new", TO_NORA, []),
    ],
)
def test_a_complete_message_is_announced_when_it_is_recorded(
    acme: Harness, event_type: str, recipients: list[dict[str, str]], expected: list[str]
) -> None:
    acme.receive(json.dumps(envelope(type=event_type, message={"recipients": recipients, "attachments": []})).encode())
    acme.record()
    assert types(acme) == expected


def test_a_message_with_files_is_announced_after_the_last_one_is_stored(acme: Harness) -> None:
    acme.send("inbound_received", ACME, recipients=TO_NORA, attachment_count=2)
    acme.record()
    assert types(acme) == []
    acme.work()
    assert types(acme) == ["message.received", "conversation.action_applied"]


def test_a_message_without_a_stored_file_is_announced_with_it_as_failed(acme: Harness) -> None:
    object.__setattr__(acme.settings, "max_attachment_bytes", 1_000)
    files = [{"filename": "big", "size": 1_001, "content_type": "text/plain"}]
    acme.send("inbound_received", ACME, recipients=TO_NORA, attachments=files)
    acme.record()
    acme.work()
    [notification] = read(acme)
    assert notification.type == "message.received"
    assert notification.event
    assert [file.state for file in notification.event.files] == ["failed"]


def test_a_delivery_that_comes_again_announces_nothing(acme: Harness) -> None:
    body = json.dumps(envelope(message={"recipients": TO_NORA, "attachments": []})).encode()
    for _ in range(3):
        acme.receive(body)
        acme.record()
    acme.receive(body)
    acme.receive(body)
    acme.record()
    assert types(acme) == ["message.received"]


def test_a_fetched_message_is_announced_with_what_front_told(acme: Harness) -> None:
    [sent] = acme.send("inbound_received", ACME, recipients=TO_NORA, fault="preview")
    acme.record()
    assert types(acme) == []
    acme.work()
    notification = read(acme)[0]
    assert (notification.type, notification.event and notification.event.front_id) == (
        "message.received",
        sent["event_id"],
    )
    assert notification.event
    assert notification.event.fetched
    assert [each.user_id for each in notification.event.recipients] == [None, NORA]


def test_messages_of_a_company_are_announced_once_it_has_a_tenant(harness: Harness) -> None:
    harness.receive(json.dumps(envelope(message={"recipients": TO_NORA, "attachments": []})).encode())
    harness.record()
    assert types(harness) == []
    harness.user(harness.tenant(envelope()["authorization"]["id"]), NORA)
    harness.sweep("adopt")
    assert types(harness) == ["message.received"]


def test_messages_of_one_conversation_that_are_recorded_together_keep_their_order(acme: Harness) -> None:
    for number in (3, 1, 2):
        message = {"id": f"msg_{number}", "recipients": TO_NORA, "attachments": []}
        payload = {"id": f"evt_{9 - number}", "emitted_at": 1_786_440_000 + number}
        acme.receive(json.dumps(envelope(payload=payload, message=message)).encode())
    acme.record()
    assert [front_id for _, front_id in waiting(acme)] == ["evt_8", "evt_7", "evt_6"]


def test_a_file_is_announced_where_an_endpoint_names_the_type(acme: Harness) -> None:
    acme.sql("UPDATE feed_state SET file_types = '{attachment.stored}'")
    acme.send("inbound_received", ACME, recipients=TO_NORA, attachment_count=1)
    acme.record()
    acme.work()
    assert types(acme) == ["attachment.stored", "message.received", "conversation.action_applied"]
    assert acme.sql("SELECT type FROM outbox WHERE attachment_id IS NOT NULL") == [("attachment.stored",)]


def test_what_is_numbered_has_positions_in_the_order_of_the_outbox(acme: Harness) -> None:
    for _ in range(5):
        acme.sql("INSERT INTO outbox (type) VALUES ('ping')")
    pool = acme.resources.pool
    assert [pool.run(lambda conn: outbox.number(conn, 2)) for _ in range(4)] == [2, 2, 1, 0]
    assert acme.sql("SELECT position FROM notifications ORDER BY position") == [(1,), (2,), (3,), (4,), (5,)]
    assert acme.one("SELECT last_position FROM feed_state") == 5


def test_the_notification_of_a_deleted_event_gets_no_position(acme: Harness) -> None:
    acme.send("inbound_received", ACME, recipients=TO_NORA, count=2)
    acme.record()
    acme.sql("DELETE FROM events WHERE id = (SELECT min(event_id) FROM outbox)")
    assert len(read(acme)) == 1
    assert acme.one("SELECT count(*)::int FROM outbox") == 0
    assert acme.one("SELECT last_position FROM feed_state") == 1


def test_while_one_transaction_numbers_another_one_leaves_it_alone(acme: Harness) -> None:
    acme.sql("INSERT INTO outbox (type) VALUES ('ping')")
    pool = acme.resources.pool

    def number_twice(conn: Any) -> tuple[int, int]:
        return outbox.number(conn), pool.run(outbox.number)

    assert pool.run(number_twice) == (1, 0)


def test_another_epoch_begins_where_the_one_before_ended(acme: Harness) -> None:
    acme.sql("INSERT INTO outbox (type) VALUES ('ping')")
    [notification] = read(acme)
    word = acme.resources.pool.run(outbox.renew_epoch)
    assert word != notification.cursor.epoch
    assert acme.sql("SELECT epoch, epoch_start, previous_epoch, last_position FROM feed_state") == [
        (word, 1, notification.cursor.epoch, 1)
    ]


def test_all_that_a_conversation_leads_to_fits_the_schema(harness: Harness) -> None:
    harness.user(harness.tenant(ACME), NORA)
    harness.sql("UPDATE feed_state SET file_types = '{attachment.stored, attachment.failed}'")
    [sent] = harness.send("inbound_received", ACME, recipients=TO_NORA, attachment_count=2)
    harness.record()
    harness.work()
    harness.send("outbound_sent", ACME, conversation=sent["conversation_id"])
    harness.record()
    harness.sql("UPDATE tenants SET parked_cause = 'paused'")
    bodies = [checked(build(each, links=LINKS, include="html")) for each in read(harness)]
    assert [body["type"] for body in bodies] == [
        "tenant.connected",
        "attachment.stored",
        "attachment.stored",
        "message.received",
        "conversation.action_applied",
        "message.sent",
        "tenant.paused",
    ]
    message = bodies[3]["data"]
    assert message["users"] == [NORA]
    assert message["message"]["text"]
    assert [file["state"] for file in message["attachments"]] == ["stored", "stored"]
    assert bodies[4]["data"]["action"] == {"kind": "archive", "state": "confirmed", "reason": "applied"}
    assert bodies[5]["data"]["message"]["direction"] == "outbound"
