"""Stores one file of a message: streamed from Front, durable before its row says so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from shared import failpoints
from shared.db.core.pool import Connection
from shared.db.tasks import events
from shared.db.tenants import erasing, retention
from shared.errors import Fenced, GivesWay
from shared.storage import StoredFile, attachment_path
from workers.attempts.attempt import Attempt

#: Files are deleted in little time, mostly.
AGAIN_SECONDS = 5.0


def store_attachment(attempt: Attempt) -> None:
    """Store the task's file; whoever settles the conversation's last one releases its actions."""
    task = attempt.task
    attachment_id = task.attachment_id
    if attachment_id is None:
        raise LookupError(f"task {task.id} names no attachment")
    front_id = attempt.transaction(lambda conn: _free_to_store(conn, task.tenant_id, attachment_id))
    path = attachment_path(task.tenant_id, front_id)
    stored = _download(attempt, front_id, path)
    failpoints.reach("stored_before_settle")

    def settle(conn: Connection) -> None:
        events.mark_file_stored(conn, attachment_id, size=stored.size, sha256=stored.sha256, path=path)

    try:
        attempt.finish("done", settle)
    except Fenced:
        # Whoever erased the tenant waited for our lease and no longer. Else the file is that of the next attempt, too.
        if attempt.transaction(lambda conn: erasing.is_erased(conn, task.tenant_id)):
            attempt.resources.storage.delete(path)
        raise


def _free_to_store(conn: Connection, tenant_id: int, attachment_id: int) -> str:
    """Front's id of the file. Raises GivesWay while retention may be deleting the same one, of an older event."""
    front_id = events.front_id_of(conn, attachment_id)
    if seconds := retention.being_deleted(conn, tenant_id, front_id):
        raise GivesWay("the same file of an older event is being deleted", retry_after=min(seconds, AGAIN_SECONDS))
    return front_id


def _download(attempt: Attempt, front_id: str, path: str) -> StoredFile:
    most = attempt.resources.settings.max_attachment_bytes
    with attempt.front().download(front_id, max_bytes=most) as download:
        return attempt.resources.storage.put(
            path, _keeping_the_lease(attempt, download.chunks, half=(download.length or 0) / 2)
        )


def _keeping_the_lease(attempt: Attempt, chunks: Iterable[bytes], *, half: float) -> Iterator[bytes]:
    received = 0
    for chunk in chunks:
        attempt.renew_lease_if_due()
        yield chunk
        received += len(chunk)
        if received >= half:
            failpoints.reach("half_stored")
