"""Tells `/readyz` of a process behind the door whether the process does its work now."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeAlias

from shared.db.core.migrate import require_current
from shared.errors import StoreUnavailable

if TYPE_CHECKING:
    from shared.db.core.pool import Pool
    from shared.process.heartbeat import Heartbeat

#: Whether something is as it must be, and a few words about it.
Check: TypeAlias = tuple[bool, str]

#: Celery's event loop goes round at least every ten seconds, and the sweeper's every second unless a job takes long.
STANDS_STILL_SECONDS = 30.0


class LastTurn:
    """When a loop last went round. One thread notes it, others read it."""

    def __init__(self) -> None:
        self._at = time.monotonic()

    def note(self) -> None:
        """The loop goes round now."""
        self._at = time.monotonic()

    def check(self) -> Check:
        """Whether the loop went round lately."""
        silent = time.monotonic() - self._at
        if silent > STANDS_STILL_SECONDS:
            return False, f"stands still for {silent:.0f} s"
        return True, "goes round"


def check_database(pool: Pool, heartbeat: Heartbeat) -> Check:
    """Whether PostgreSQL has this process's heartbeat, and a schema that this release works on.

    Asks PostgreSQL only while it has the heartbeat, so that nobody waits for a server that is away.
    """
    if not heartbeat.is_recorded():
        return False, "has no heartbeat of this process: it starts, or PostgreSQL is away"
    try:
        pool.run(require_current)
    except StoreUnavailable as exc:
        return False, str(exc)
    return True, "current"


def all_of(**checks: Check) -> tuple[bool, dict[str, str]]:
    """Return the readiness that these checks come to."""
    return all(is_right for is_right, _ in checks.values()), {name: said for name, (_, said) in checks.items()}
