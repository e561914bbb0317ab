"""All files are stored before an action, and the last file releases the action exactly once."""

from __future__ import annotations

import hashlib
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from shared.db.tasks import manual_changes
from tests.integration.pipeline.harness import Harness
from workers.attempts.run import run_task
from workers.steps import STEPS

NORA = "nora@acme.example"
TO_NORA = [{"handle": NORA, "role": "to"}]


@pytest.fixture
def tenant(harness: Harness) -> int:
    tenant = harness.tenant("cmp_acme", action="trash")
    harness.user(tenant, NORA)
    return tenant


def inbound(harness: Harness, **order: Any) -> dict[str, Any]:
    [event] = harness.send("inbound_received", "cmp_acme", **{"recipients": TO_NORA, **order})
    return event


def action_states(harness: Harness) -> list[str]:
    return [state for (state,) in harness.sql("SELECT state FROM actions ORDER BY event_id")]


@pytest.mark.usefixtures("tenant")
def test_a_file_lies_in_the_storage_as_front_sent_it(harness: Harness, tmp_path: Path) -> None:
    inbound(harness, attachments=[{"filename": "../../etc/passwd", "size": 300_000, "content_type": "text/plain"}])
    harness.record()
    harness.work()
    [(state, size, sha256, path, filename)] = harness.sql("SELECT state, size, sha256, path, filename FROM attachments")
    stored = (tmp_path / "files" / path).read_bytes()
    assert (state, size, filename) == ("stored", 300_000, "../../etc/passwd")
    assert hashlib.sha256(stored).hexdigest() == sha256


@pytest.mark.usefixtures("tenant")
def test_a_conversation_is_not_trashed_while_a_file_of_any_of_its_events_is_missing(harness: Harness) -> None:
    harness.control("faults", {"kind": "404_heals", "path_regex": "/download/", "count": 1_000})
    first = inbound(harness, attachment_count=1)
    harness.record()
    for _ in range(6):
        harness.work()
        harness.make_due()
    assert harness.sql("SELECT state, code FROM tasks WHERE kind = 'store_attachment'") == [
        ("failed", "attachment_missing")
    ]
    inbound(harness, conversation=first["conversation_id"])
    harness.record()
    harness.work()
    harness.sweep("release_stranded", "dispatch")
    assert harness.status(first["conversation_id"]) != "deleted"
    assert action_states(harness) == ["planned", "planned"]
    assert "could not be stored" in harness.one("SELECT reason FROM actions ORDER BY event_id DESC LIMIT 1")


@pytest.mark.usefixtures("tenant")
def test_retrying_the_missing_file_lets_the_conversation_go(harness: Harness) -> None:
    harness.control("faults", {"kind": "404_heals", "path_regex": "/download/", "count": 5})
    first = inbound(harness, attachment_count=1)
    harness.record()
    for _ in range(6):
        harness.work()
        harness.make_due()
    inbound(harness, conversation=first["conversation_id"])
    harness.record()
    harness.work()
    failed = harness.one("SELECT id FROM tasks WHERE state = 'failed'")
    assert harness.resources.pool.run(lambda conn: manual_changes.retry(conn, [failed], who="test")) == [failed]
    for _ in range(2):  # Front allows five requests a second for one file
        harness.work()
        time.sleep(1)
        harness.make_due()
    harness.work()
    assert harness.status(first["conversation_id"]) == "deleted"
    assert action_states(harness) == ["superseded", "confirmed"]


@pytest.mark.parametrize(
    ("action", "status", "state"),
    [
        # an operator discarded the file: archiving loses nothing, trashing would
        ("archive", "archived", "confirmed"),
        ("trash", "assigned", "skipped"),
    ],
)
def test_a_discarded_file_lets_archive_go_and_never_trash(
    harness: Harness, tenant: int, action: str, status: str, state: str
) -> None:
    harness.sql("UPDATE tenants SET action = %s WHERE id = %s", action, tenant)
    harness.control("faults", {"kind": "404_heals", "path_regex": "/download/", "count": 1_000})
    event = inbound(harness, attachment_count=1)
    harness.record()
    harness.work()
    task = harness.one("SELECT id FROM tasks WHERE kind = 'store_attachment'")
    discarded = harness.resources.pool.run(
        lambda conn: manual_changes.discard(conn, [task], who="test", reason="not needed")
    )
    assert discarded == [task]
    harness.work()
    assert action_states(harness) == [state]
    assert (harness.status(event["conversation_id"]) == status) == (action == "archive")
    assert harness.one("SELECT state FROM events") == "done"


@pytest.mark.parametrize(
    ("action", "state"),
    [("archive", "confirmed"), ("trash", "planned")],
)
def test_settled_files_are_enough_for_archive_when_the_tenant_says_so_and_never_for_trash(
    harness: Harness, tenant: int, action: str, state: str
) -> None:
    harness.sql("UPDATE tenants SET action = %s, wait_for = 'settled' WHERE id = %s", action, tenant)
    harness.control("faults", {"kind": "404_heals", "path_regex": "/download/", "count": 1_000})
    inbound(harness, attachment_count=1)
    harness.record()
    for _ in range(6):
        harness.work()
        harness.make_due()
    harness.work()
    assert action_states(harness) == [state]


@pytest.mark.usefixtures("tenant")
def test_two_files_that_are_stored_at_the_same_moment_release_the_action_once(harness: Harness) -> None:
    events = harness.send("inbound_received", "cmp_acme", recipients=TO_NORA, attachment_count=2, count=300)
    while harness.record():
        pass
    pairs = harness.sql(
        "SELECT array_agg(id) FROM tasks WHERE kind = 'store_attachment' GROUP BY event_id ORDER BY event_id"
    )
    assert len(pairs) == 300
    for (pair,) in pairs:
        _run_at_once(harness, pair)
    assert harness.one("SELECT count(*)::int FROM tasks WHERE kind = 'apply_action' AND due_at <= now()") == 300
    harness.work(rounds=2_000)
    assert harness.control("verdict")["effects"] == 300
    assert harness.control("verdict")["double"] == 0
    assert {harness.status(event["conversation_id"]) for event in events} == {"deleted"}


@pytest.mark.usefixtures("tenant")
def test_the_last_files_of_two_events_of_one_conversation_release_both_actions(harness: Harness) -> None:
    for _ in range(30):
        first = inbound(harness, attachment_count=1)
        inbound(harness, conversation=first["conversation_id"], attachment_count=1)
        harness.record()
        [(pair,)] = harness.sql("SELECT array_agg(id) FROM tasks WHERE kind = 'store_attachment' AND state <> 'done'")
        _run_at_once(harness, pair)
        assert harness.sql("SELECT id FROM tasks WHERE due_at = 'infinity'") == []
        harness.work()


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"kind": "cut_body"}, "download_incomplete"),
        ({"kind": "503"}, "front_unavailable"),
        ({"kind": "redirect_offsite"}, "unsafe_redirect"),
    ],
)
@pytest.mark.usefixtures("tenant")
def test_a_download_that_goes_wrong_says_what_happened(harness: Harness, fault: dict[str, str], code: str) -> None:
    harness.control("faults", {"path_regex": "/download/", "count": 20, **fault})
    inbound(harness, attachment_count=1)
    harness.record()
    harness.work()
    assert harness.one("SELECT code FROM tasks WHERE kind = 'store_attachment'") == code
    assert harness.sql("SELECT state FROM attachments WHERE state = 'stored'") == []


@pytest.mark.usefixtures("tenant")
def test_a_file_over_the_limit_fails_at_once(harness: Harness) -> None:
    object.__setattr__(harness.settings, "max_attachment_bytes", 1_000)
    inbound(harness, attachments=[{"filename": "big", "size": 1_001, "content_type": "text/plain"}])
    harness.record()
    harness.work()
    assert harness.sql("SELECT state, code FROM tasks WHERE kind = 'store_attachment'") == [
        ("failed", "attachment_too_large")
    ]


@pytest.mark.parametrize("fault", ["preview", "no_recipients", "no_attachments", "no_target"])
@pytest.mark.usefixtures("tenant")
def test_fields_missing_from_a_webhook_are_fetched(harness: Harness, fault: str) -> None:
    event = inbound(harness, attachment_count=2, fault=fault)
    harness.record()
    harness.work()
    assert harness.status(event["conversation_id"]) == "deleted"
    assert harness.sql("SELECT state, count(*)::int FROM attachments GROUP BY 1") == [("stored", 2)]
    assert harness.one("SELECT user_id IS NOT NULL FROM recipients WHERE role = 'to'") is True
    assert harness.one("SELECT message_id FROM events") == event["message_id"]


def _run_at_once(harness: Harness, task_ids: list[int]) -> None:
    harness.sql("UPDATE tasks SET state = 'queued' WHERE id = ANY(%s)", task_ids)
    gate = threading.Barrier(len(task_ids))

    def run(task_id: int) -> None:
        gate.wait()
        run_task(harness.resources, STEPS, task_id)

    threads = [threading.Thread(target=run, args=(task_id,)) for task_id in task_ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
