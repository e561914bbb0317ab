"""Deletes what is too old to be kept, in small pieces: `RETENTION_UNCLAIMED_DAYS` and `RETENTION_EVENTS_DAYS`.

Rows go first, and name their files as they go; each file is named until it is gone. So no row points at a file that is
missing, and no file is left that nobody knows of, wherever a process dies.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

import structlog

from shared import failpoints
from shared.db.tenants import retention
from shared.db.tenants.retention import FileKey
from shared.errors import StorageUnavailable
from shared.settings import Settings
from shared.storage import attachment_path
from workers.resources import Resources

#: Of a run, which the sweeper asks for every minute: most of the time is left to others.
ROWS_SECONDS, FILES_SECONDS = 10.0, 10.0
EVENTS_AT_ONCE = 100
FILES_AT_ONCE = 200
#: Longer than the storage may take for so many.
CLAIM_SECONDS = 300.0
log = structlog.get_logger()


def delete_expired(resources: Resources) -> None:
    """Delete what is too old, as much as can be done in one run. Never raises what the next run may mend."""
    until = time.monotonic() + ROWS_SECONDS
    deleted = {
        what: _repeat(resources, until, partial(_events, what=what, days=days))
        for what, days in kept(resources.settings)
    }
    try:
        deleted["files"] = _repeat(resources, time.monotonic() + FILES_SECONDS, _files)
    except StorageUnavailable as exc:
        log.warning("files_not_deleted", code=exc.code, reason=str(exc))
    if any(deleted.values()):
        log.info("deleted_by_retention", **deleted)


def kept(settings: Settings) -> list[tuple[str, int]]:
    """What is not kept for ever, and for how many days it is."""
    days = {"unclaimed": settings.retention_unclaimed_days, "events": settings.retention_events_days}
    return [(what, each) for what, each in days.items() if each]


def _repeat(resources: Resources, until: float, delete_some: Callable[[Resources], int]) -> int:
    count = 0
    while time.monotonic() < until and not resources.stop.is_set() and (some := delete_some(resources)):
        count += some
    return count


def _events(resources: Resources, what: str, days: int) -> int:
    return resources.pool.run(partial(retention.delete_older, what=what, days=days, limit=EVENTS_AT_ONCE))


def _files(resources: Resources) -> int:
    claimed = resources.pool.run(partial(retention.claim_files, limit=FILES_AT_ONCE, seconds=CLAIM_SECONDS))
    try:
        if claimed:
            _delete(resources, claimed)
    except StorageUnavailable:
        resources.pool.run(partial(retention.release_files, claimed=claimed))
        raise
    return len(claimed)


def _delete(resources: Resources, claimed: Sequence[FileKey]) -> None:
    """Looks which of them are needed only now: an event that is recorded later does not store its file meanwhile."""
    files = resources.pool.run(partial(retention.expired_files, claimed=claimed))
    unneeded = [file for file in files if not file.is_needed]
    resources.storage.delete(*(file.path or attachment_path(file.tenant_id, file.front_id) for file in unneeded))
    failpoints.reach("deleted_before_forgotten")
    resources.pool.run(partial(retention.forget_files, files=files))
