"""Deletes expired rows and files in small pieces, by the settings `RETENTION_…`.

Rows go first and leave the names of their files; a name is forgotten only after its file is deleted. So no row points
at a missing file, and no file is left behind unnamed, wherever a process dies.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

import structlog

from shared import failpoints
from shared.db import figures
from shared.db.host import outbox
from shared.db.tenants import retention
from shared.db.tenants.retention import FileKey
from shared.errors import StorageUnavailable
from shared.settings import Settings
from shared.storage import attachment_path
from workers.resources import Resources

#: The limits of one run. The sweeper asks for a run every minute, so most of the time is left to other work.
ROWS_SECONDS, FILES_SECONDS = 10.0, 10.0
EVENTS_AT_ONCE = 100
FILES_AT_ONCE = 200
FIGURES_AT_ONCE = 2_000
NOTIFICATIONS_AT_ONCE = 1_000
#: Longer than the storage may take to delete that many files.
CLAIM_SECONDS = 300.0
log = structlog.get_logger()


def delete_expired(resources: Resources) -> None:
    """Delete expired rows and files, as many as one run may. An unavailable storage is logged; the next run goes on."""
    until = time.monotonic() + ROWS_SECONDS
    deleted = {"notifications": _repeat(resources, until, _delete_notifications)}
    if resources.settings.retention_content_days:
        deleted["content"] = _repeat(resources, until, _cut_content)
    deleted |= {
        kind: _repeat(resources, until, partial(_delete_events, kind=kind, days=days))
        for kind, days in days_by_kind(resources.settings)
    }
    deleted["files"] = delete_files(resources)
    _repeat(resources, until, _delete_figures)
    if any(deleted.values()):
        log.info("deleted_by_retention", **deleted)


def delete_files(resources: Resources) -> int:
    """Delete expired files for a while, and return their number. An unavailable storage is logged."""
    try:
        return _repeat(resources, time.monotonic() + FILES_SECONDS, _delete_files)
    except StorageUnavailable as exc:
        log.warning("files_not_deleted", code=exc.code, reason=str(exc))
        return 0


def days_by_kind(settings: Settings) -> list[tuple[str, int]]:
    """Return the kinds of rows that are not kept for ever, each with its days of retention."""
    events, failed = settings.retention_events_days, settings.retention_failed_days
    days = {"unclaimed": settings.retention_unclaimed_days, "events": events, "failed": failed and max(failed, events)}
    return [(kind, each) for kind, each in days.items() if each]


def feed_days(settings: Settings) -> int:
    """Return the days for which notifications are kept: an event or its content is deleted only after all of them."""
    given = (settings.retention_feed_days, settings.retention_events_days, settings.retention_content_days)
    return min(days for days in given if days)


def _repeat(resources: Resources, until: float, delete_some: Callable[[Resources], int]) -> int:
    count = 0
    while time.monotonic() < until and not resources.stop.is_set() and (some := delete_some(resources)):
        count += some
    return count


def _delete_events(resources: Resources, kind: str, days: int) -> int:
    return resources.pool.run(partial(retention.delete_older, what=kind, days=days, limit=EVENTS_AT_ONCE))


def _cut_content(resources: Resources) -> int:
    days = resources.settings.retention_content_days
    return resources.pool.run(partial(retention.cut_older, days=days, limit=EVENTS_AT_ONCE))


def _delete_notifications(resources: Resources) -> int:
    days = feed_days(resources.settings)
    return resources.pool.run(partial(outbox.delete_older, days=days, limit=NOTIFICATIONS_AT_ONCE))


def _delete_figures(resources: Resources) -> int:
    return resources.pool.run(partial(figures.delete_old, limit=FIGURES_AT_ONCE))


def _delete_files(resources: Resources) -> int:
    claimed = resources.pool.run(partial(retention.claim_files, limit=FILES_AT_ONCE, seconds=CLAIM_SECONDS))
    try:
        if claimed:
            _delete_claimed(resources, claimed)
    except StorageUnavailable:
        resources.pool.run(partial(retention.release_files, claimed=claimed))
        raise
    return len(claimed)


def _delete_claimed(resources: Resources, claimed: Sequence[FileKey]) -> None:
    """Delete the claimed files that no row needs.

    Only now is it certain which ones these are: events that are recorded later do not store a claimed file.
    """
    files = resources.pool.run(partial(retention.expired_files, claimed=claimed))
    unneeded = [file for file in files if not file.is_needed]
    resources.storage.delete(*(file.path or attachment_path(file.tenant_id, file.front_id) for file in unneeded))
    failpoints.reach("deleted_before_forgotten")
    resources.pool.run(partial(retention.forget_files, files=files))
