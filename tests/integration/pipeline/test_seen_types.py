"""The recorder learns the types that come by webhook from webhooks alone."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from shared.db.recording import spool
from shared.front.envelope import application_name
from shared.models import Delivery
from tests.integration.pipeline.harness import Harness
from tests.integration.pipeline.test_recording import envelope, receive


def test_the_types_that_come_by_webhook_are_noted_once_and_by_every_recorder(harness: Harness) -> None:
    for event_id, event_type in (("evt_1", "inbound"), ("evt_2", "archive"), ("evt_3", "inbound"), ("evt_4", "news")):
        receive(harness, type=application_name(event_type), payload={"id": event_id, "type": event_type})
        harness.record()
    assert harness.sql("SELECT type FROM seen_event_types ORDER BY 1") == [
        ("conversation_archived",),
        ("inbound_received",),
    ]


def test_a_type_noted_in_a_chunk_that_was_rolled_back_is_noted_again(harness: Harness) -> None:
    harness.sql("ALTER TABLE events ADD CHECK (front_id <> 'evt_bad')")
    receive(harness, payload={"id": "evt_bad"})
    harness.record()
    assert harness.sql("SELECT type FROM seen_event_types") == []
    receive(harness, payload={"id": "evt_good"})
    harness.record()
    assert harness.sql("SELECT type FROM seen_event_types") == [("inbound_received",)]


def test_a_repaired_event_is_no_sign_of_webhooks(harness: Harness) -> None:
    body = json.dumps(envelope(payload={"id": "evt_fed"})).encode()
    fed = Delivery(id=f"{1:032x}", received_at=datetime.now(UTC), body=body)
    harness.resources.pool.run(lambda conn: spool.add_repaired(conn, [fed]))
    assert harness.record() == 1
    assert harness.sql("SELECT origin FROM deliveries") == [("repaired",)]
    assert harness.sql("SELECT 1 FROM spooled_deliveries UNION ALL SELECT 1 FROM seen_event_types") == []
