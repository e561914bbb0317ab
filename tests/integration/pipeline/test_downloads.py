"""A file is stored when it is whole and as announced, in whatever way it comes; else nothing is stored or trashed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.db.tasks import manual_changes
from tests.integration.pipeline.harness import NORA, TO_NORA, Harness

SIZE = 1_300


@pytest.fixture
def harness(database: str, redis_db: str, tmp_path: Path) -> Iterator[Harness]:
    """Mailroom, and a Front that answers any number of requests for one file."""
    harness = Harness(database, redis_db, tmp_path / "files", burst_per_second=0)
    yield harness
    harness.close()


@pytest.fixture
def tenant(harness: Harness) -> int:
    tenant = harness.tenant("cmp_acme", action="trash")
    harness.user(tenant, NORA)
    return tenant


def inbound(harness: Harness, **order: Any) -> dict[str, Any]:
    [event] = harness.send("inbound_received", "cmp_acme", recipients=TO_NORA, **order)
    return event


def action_states(harness: Harness) -> list[str]:
    return [state for (state,) in harness.sql("SELECT state FROM actions ORDER BY event_id")]


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
    harness: Harness, tmp_path: Path, fault: str, code: str, detail: str
) -> None:
    harness.control("faults", {"kind": fault, "bytes": 300 * 2**20})
    event = inbound(harness, attachments=[{"filename": "a.txt", "size": SIZE, "content_type": "text/plain"}])
    harness.record()
    for _ in range(13):
        harness.work()
        harness.make_due()
    [(state, found_code, found_detail)] = harness.sql(
        "SELECT state, code, detail FROM tasks WHERE kind = 'store_attachment'"
    )
    assert (state, found_code) == ("failed", code)
    assert detail in found_detail
    assert [path for path in (tmp_path / "files").rglob("*") if path.is_file()] == []
    assert (harness.status(event["conversation_id"]), action_states(harness)) == ("open", ["planned"])
    harness.clear_faults()
    task_id = harness.one("SELECT id FROM tasks WHERE state = 'failed'")
    harness.resources.pool.run(lambda conn: manual_changes.retry(conn, [task_id], who="test"))
    harness.work()
    assert harness.sql("SELECT state, size::int FROM attachments") == [("stored", SIZE)]
    assert harness.status(event["conversation_id"]) == "deleted"


@pytest.mark.parametrize("fault", ["file_gzip", "406_accept", "redirect_utf8"])
@pytest.mark.usefixtures("tenant")
def test_a_file_that_comes_in_an_odd_way_is_stored_as_it_is(harness: Harness, tmp_path: Path, fault: str) -> None:
    files = [{"filename": "a.txt", "size": SIZE, "content_type": "text/plain"}]
    plain = inbound(harness, attachments=files)
    harness.record()
    harness.work()
    harness.control("faults", {"kind": fault})
    odd = inbound(harness, attachments=files)
    harness.record()
    harness.work()
    assert harness.sql("SELECT state, size::int FROM attachments") == [("stored", SIZE)] * 2
    assert [harness.status(event["conversation_id"]) for event in (plain, odd)] == ["deleted", "deleted"]


@pytest.mark.usefixtures("tenant")
def test_a_person_can_accept_a_file_of_another_size(harness: Harness) -> None:
    harness.control("faults", {"kind": "file_shorter"})
    event = inbound(harness, attachments=[{"filename": "a.txt", "size": SIZE, "content_type": "text/plain"}])
    harness.record()
    for _ in range(5):
        harness.work()
        harness.make_due()
    task_id = harness.one("SELECT id FROM tasks WHERE state = 'failed'")
    change = {"who": "olga", "accept_size": True}
    assert harness.resources.pool.run(lambda conn: manual_changes.retry(conn, [task_id], **change)) == [task_id]
    harness.work()
    assert harness.sql("SELECT state, size::int FROM attachments") == [("stored", SIZE // 2)]
    assert harness.status(event["conversation_id"]) == "deleted"
    assert harness.sql("SELECT who, detail FROM journal WHERE what = 'task_retried'") == [
        ("olga", f"task {task_id}: any size is accepted in place of 1300 bytes")
    ]
