"""Works through events that were parked because nobody had their company: the recorder's own path."""

from __future__ import annotations

import zlib
from typing import cast

from shared.db import rescue
from shared.db.pool import Connection, Pool
from shared.models import Delivery, Origin
from workers.recording.chunk import record_chunk
from workers.recording.read import Incoming


def adopt_parked(pool: Pool) -> set[int]:
    """Record parked events for the tenants that have their company now; the tenants that got new work."""
    return pool.run(_adopt)


def _adopt(conn: Connection) -> set[int]:
    parked = rescue.adoptable(conn)
    chunk = [
        Incoming(
            delivery=Delivery(id=each.id, received_at=each.received_at, body=zlib.decompress(each.body)),
            origin=cast("Origin", each.origin),
            mark=each.id,
        )
        for each in parked
    ]
    return record_chunk(conn, chunk, adopt=True) if chunk else set()
