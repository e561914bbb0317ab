"""Stores one attachment: streams it from Front, and records it only after its bytes are durable."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from shared import failpoints
from shared.db.core.pool import Connection
from shared.db.tasks import events
from shared.db.tenants import erasing, retention
from shared.errors import Fenced, GivesWay
from shared.storage import StoredFile, attachment_path
from workers.attempts.attempt import Attempt

#: The longest pause while retention deletes the same file; mostly it needs less.
DELETING_SECONDS = 5.0


def store_attachment(attempt: Attempt) -> None:
    """Store the task's attachment. The attempt that settles a conversation's last one releases its actions."""
    task = attempt.task
    attachment_id = task.attachment_id
    if attachment_id is None:
        raise LookupError(f"task {task.id} names no attachment")
    file = attempt.transaction(lambda conn: _storable_file(conn, task.tenant_id, attachment_id))
    path = attachment_path(task.tenant_id, file.front_id)
    stored = _download(attempt, file, path)
    failpoints.reach("stored_before_settle")

    def mark_stored(conn: Connection) -> None:
        events.mark_file_stored(conn, attachment_id, size=stored.size, sha256=stored.sha256, path=path)

    try:
        attempt.finish("done", mark_stored)
    except Fenced:
        # The command that erases a tenant waits until our lease ends, and no longer. Without an erasure the file stays:
        # it is the next attempt's, too.
        if attempt.transaction(lambda conn: erasing.is_erased(conn, task.tenant_id)):
            attempt.resources.storage.delete(path)
        raise


def _storable_file(conn: Connection, tenant_id: int, attachment_id: int) -> events.File:
    """Return the attachment as Front announced it.

    Raises GivesWay while retention may be deleting the same file, which an older event left.
    """
    file = events.file_to_store(conn, attachment_id)
    if seconds := retention.deletion_seconds_left(conn, tenant_id, file.front_id):
        raise GivesWay("the same file of an older event is being deleted", retry_after=min(seconds, DELETING_SECONDS))
    return file


def _download(attempt: Attempt, file: events.File, path: str) -> StoredFile:
    max_bytes = attempt.resources.settings.max_attachment_bytes
    with attempt.front().download(file.front_id, max_bytes=max_bytes, announced=file.declared_size) as download:
        half = (download.length or 0) / 2
        return attempt.resources.storage.put(path, _renewing_the_lease(attempt, download.chunks, half=half))


def _renewing_the_lease(attempt: Attempt, chunks: Iterable[bytes], *, half: float) -> Iterator[bytes]:
    received = 0
    for chunk in chunks:
        attempt.renew_lease_if_due()
        yield chunk
        received += len(chunk)
        if received >= half:
            failpoints.reach("half_stored")
