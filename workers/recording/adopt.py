"""Works through events that were parked because nobody had their company: the recorder's own path."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import cast

import structlog

from shared.db import rescue
from shared.db.pool import Connection, Pool
from shared.models import Delivery, Origin
from workers.recording.chunk import adopt_chunk
from workers.recording.halves import by_halves
from workers.recording.read import Incoming, parse

log = structlog.get_logger()


def adopt_parked(pool: Pool) -> set[int]:
    """Record parked events for the tenants that have their company now; the tenants that got new work.

    One that cannot be recorded any more fails visibly: it must not stand in front of the others for ever.
    """
    tenants: set[int] = set()

    def adopt(parked: Sequence[rescue.ParkedDelivery]) -> None:
        tenants.update(pool.run(lambda conn: _adopt(conn, parked)))

    def give_up(offender: rescue.ParkedDelivery, exc: Exception) -> None:
        log.warning("unrecordable", delivery_id=offender.id, error=type(exc).__name__)
        reason = f"recording it for its tenant failed ({type(exc).__name__})"
        pool.run(lambda conn: rescue.fail_parked(conn, [offender.event_id], reason))

    if found := pool.run(rescue.adoptable):
        by_halves(found, adopt, give_up)
    return tenants


def _adopt(conn: Connection, parked: Sequence[rescue.ParkedDelivery]) -> set[int]:
    chunk = [
        parse(
            Incoming(
                delivery=Delivery(id=each.id, received_at=each.received_at, body=zlib.decompress(each.body)),
                origin=cast("Origin", each.origin),
                mark=each.id,
            )
        )
        for each in parked
    ]
    tenants = adopt_chunk(conn, chunk)
    rescue.fail_parked(conn, [each.event_id for each in parked], "its body reads as another event now")
    return tenants
