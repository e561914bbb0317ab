"""The door divides deliveries among the streams by their company."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import redis

from shared.intake.streams import stream_for, streams_of
from tests.integration.door.door_process import running_door

if TYPE_CHECKING:
    from pathlib import Path

STREAMS = streams_of(3)


def test_a_companys_deliveries_are_in_its_stream(database: str, redis_db: str, tmp_path: Path) -> None:
    bodies = [
        json.dumps(
            {"type": "inbound_received", "authorization": {"id": f"cmp_{number % 12}"}, "payload": {"id": number}}
        )
        for number in range(24)
    ]
    with running_door(database, redis_db, tmp_path / "door.log", INTAKE_STREAMS="3") as door:
        assert [door.post(body.encode()).status for body in bodies] == [200] * len(bodies)
    with redis.Redis.from_url(redis_db, decode_responses=True) as client:
        found = {stream: [fields["body"] for _, fields in client.xrange(stream)] for stream in STREAMS}
    assert found == {
        stream: [body for body in bodies if stream_for(body.encode(), STREAMS) == stream] for stream in STREAMS
    }
    assert all(found.values())
