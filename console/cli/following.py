"""Follows repairs until they are over, or until nobody is there to do them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from console.cli.progress import share
from shared.db.reading.repairs import ShownRepair, named
from shared.db.reading.status import alive
from shared.errors import MailroomError

if TYPE_CHECKING:
    from shared.db.pool import Connection

LOOK_EVERY = 0.5
#: Processes whose work a repair is.
NEEDED = ("sweeper", "worker")


class NobodyWorks(MailroomError):
    """What was asked for waits for processes that do not run."""

    code = "nobody_works"


def follow(conn: Connection, repair_ids: Sequence[int], label: str) -> list[ShownRepair]:
    """The repairs once each is over or waits for a person. Raises NobodyWorks."""
    with share(label) as tell:
        while True:
            repairs = named(conn, repair_ids)
            tell(sum(map(_done, repairs)) / max(len(repairs), 1), _told(repairs))
            if all(map(_is_over, repairs)):
                return repairs
            check_alive(conn)
            time.sleep(LOOK_EVERY)


def check_alive(conn: Connection) -> None:
    """Raise NobodyWorks when a process is missing that repairs need."""
    running = {process.kind for process in alive(conn)}
    if missing := [kind for kind in NEEDED if kind not in running]:
        raise NobodyWorks(
            f"no {' and no '.join(missing)} is alive; what was asked for is done when they run: "
            "start them with `mailroom up` or your platform"
        )


def _is_over(repair: ShownRepair) -> bool:
    return repair.state not in {"waiting", "running"} or repair.parked is not None


def _done(repair: ShownRepair) -> float:
    """The share of its time that was compared."""
    if _is_over(repair):
        return 1.0
    if not (repair.since and repair.until and repair.position) or repair.until <= repair.since:
        return 0.0
    return (repair.position - repair.since) / (repair.until - repair.since)


def _told(repairs: Sequence[ShownRepair]) -> str:
    over = f"{sum(map(_is_over, repairs)):,} of {len(repairs):,} tenants, " if len(repairs) > 1 else ""
    pages, missing, fed = (sum(getattr(each, name) for each in repairs) for name in ("pages", "missing", "fed"))
    return f"{over}{pages:,} pages, {missing:,} missing, {fed:,} fed"
