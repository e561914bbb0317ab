"""Reads the facts of numbered notifications, from which their bodies are built."""

from __future__ import annotations

from collections.abc import Sequence

from shared.db.core.pool import Connection
from shared.host.notification import NotificationFacts


def load(conn: Connection, positions: Sequence[int]) -> list[NotificationFacts]:
    """Return the notifications at these positions, lowest position first; those that were deleted are left out."""
    raise NotImplementedError
