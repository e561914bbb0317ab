"""A file is stored when it is whole and as announced, in whatever way it comes; else nothing is stored or trashed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.db.tasks import manual_changes
from tests.integration.pipeline.rig import NORA, TO_NORA, Rig

SIZE = 1_300


@pytest.fixture
def rig(database: str, redis_db: str, tmp_path: Path) -> Iterator[Rig]:
    """Mailroom, and a Front that answers any number of requests for one file."""
    rig = Rig(database, redis_db, tmp_path / "files", burst_per_second=0)
    yield rig
    rig.close()


@pytest.fixture
def tenant(rig: Rig) -> int:
    tenant = rig.tenant("cmp_acme", action="trash")
    rig.user(tenant, NORA)
    return tenant


def inbound(rig: Rig, **order: Any) -> dict[str, Any]:
    [event] = rig.send("inbound_received", "cmp_acme", recipients=TO_NORA, **order)
    return event


def action_states(rig: Rig) -> list[str]:
    return [state for (state,) in rig.sql("SELECT state FROM actions ORDER BY event_id")]


@pytest.mark.parametrize(
    ("fault", "code", "detail"),
    [
        ("file_shorter", "size_mismatch", "gives 650 bytes, and the message announces 1300;"),
        ("file_longer", "size_mismatch", "gives 2300 bytes, and the message announces 1300;"),
        ("file_empty", "size_mismatch", "gives 0 bytes, and the message announces 1300;"),
        ("file_login_page", "size_mismatch", "and the message announces 1300;"),
        ("file_unframed", "download_incomplete", "without its length"),
        ("file_cut_unframed", "download_incomplete", "without its length"),
        ("file_cut_chunked", "download_incomplete", "before the end of the file"),
        ("file_gzip_cut", "download_incomplete", "within the compressed file"),
        ("file_gzip_bomb", "attachment_too_large", "over"),
        ("file_unknown_encoding", "front_rejected", "(br)"),
    ],
)
@pytest.mark.usefixtures("tenant")
def test_a_file_that_may_not_be_whole_is_never_stored_and_trashes_nothing(
    rig: Rig, tmp_path: Path, fault: str, code: str, detail: str
) -> None:
    rig.control("faults", {"kind": fault, "bytes": 300 * 2**20})
    event = inbound(rig, attachments=[{"filename": "a.txt", "size": SIZE, "content_type": "text/plain"}])
    rig.record()
    for _ in range(13):
        rig.work()
        rig.hurry()
    [(state, found_code, found_detail)] = rig.sql(
        "SELECT state, code, detail FROM tasks WHERE kind = 'store_attachment'"
    )
    assert (state, found_code) == ("failed", code)
    assert detail in found_detail
    assert [path for path in (tmp_path / "files").rglob("*") if path.is_file()] == []
    assert (rig.status(event["conversation_id"]), action_states(rig)) == ("open", ["planned"])
    rig.heal()
    task_id = rig.one("SELECT id FROM tasks WHERE state = 'failed'")
    rig.resources.pool.run(lambda conn: manual_changes.retry(conn, [task_id], who="test"))
    rig.work()
    assert rig.sql("SELECT state, size::int FROM attachments") == [("stored", SIZE)]
    assert rig.status(event["conversation_id"]) == "deleted"


@pytest.mark.parametrize("fault", ["file_gzip", "406_accept", "redirect_utf8"])
@pytest.mark.usefixtures("tenant")
def test_a_file_that_comes_in_an_odd_way_is_stored_as_it_is(rig: Rig, tmp_path: Path, fault: str) -> None:
    files = [{"filename": "a.txt", "size": SIZE, "content_type": "text/plain"}]
    plain = inbound(rig, attachments=files)
    rig.record()
    rig.work()
    rig.control("faults", {"kind": fault})
    odd = inbound(rig, attachments=files)
    rig.record()
    rig.work()
    assert rig.sql("SELECT state, size::int FROM attachments") == [("stored", SIZE)] * 2
    assert [rig.status(event["conversation_id"]) for event in (plain, odd)] == ["deleted", "deleted"]


@pytest.mark.usefixtures("tenant")
def test_a_person_can_accept_a_file_of_another_size(rig: Rig) -> None:
    rig.control("faults", {"kind": "file_shorter"})
    event = inbound(rig, attachments=[{"filename": "a.txt", "size": SIZE, "content_type": "text/plain"}])
    rig.record()
    for _ in range(5):
        rig.work()
        rig.hurry()
    task_id = rig.one("SELECT id FROM tasks WHERE state = 'failed'")
    change = {"who": "olga", "accept_size": True}
    assert rig.resources.pool.run(lambda conn: manual_changes.retry(conn, [task_id], **change)) == [task_id]
    rig.work()
    assert rig.sql("SELECT state, size::int FROM attachments") == [("stored", SIZE // 2)]
    assert rig.status(event["conversation_id"]) == "deleted"
    assert rig.sql("SELECT who, detail FROM journal WHERE what = 'task_retried'") == [
        ("olga", f"task {task_id}: any size is accepted in place of 1300 bytes")
    ]
