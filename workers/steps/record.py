"""Records an event again from its stored body: with the users, the policy and the release of today."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.db.recording import stored_deliveries
from shared.errors import BodyGone
from workers.recording.chunk import record_again

if TYPE_CHECKING:
    from shared.db.core.pool import Connection
    from workers.attempts.attempt import Attempt


def record(attempt: Attempt) -> None:
    """Match the event's recipients anew, and plan its work anew. A change that Front has is not sent again.

    Raises BodyGone, and MalformedEnvelope when the body reads as another event now.
    """
    event_id = attempt.task.event_id

    def write(conn: Connection) -> None:
        delivery = stored_deliveries.find(conn, event_id)
        if delivery is None:
            raise BodyGone(f"the body of event {event_id} is no longer stored")
        record_again(conn, delivery)

    attempt.finish("done", write)
