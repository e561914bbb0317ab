"""Files are stored before anything is destroyed, and the last one releases the action exactly once."""

from __future__ import annotations

import hashlib
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from shared.db.tasks import manual_changes
from tests.integration.pipeline.rig import Rig
from workers.attempts.run import run_task
from workers.steps import STEPS

NORA = "nora@acme.example"
TO_NORA = [{"handle": NORA, "role": "to"}]


@pytest.fixture
def tenant(rig: Rig) -> int:
    tenant = rig.tenant("cmp_acme", action="trash")
    rig.user(tenant, NORA)
    return tenant


def inbound(rig: Rig, **order: Any) -> dict[str, Any]:
    [event] = rig.send("inbound_received", "cmp_acme", **{"recipients": TO_NORA, **order})
    return event


def action_states(rig: Rig) -> list[str]:
    return [state for (state,) in rig.sql("SELECT state FROM actions ORDER BY event_id")]


@pytest.mark.usefixtures("tenant")
def test_a_file_lies_in_the_storage_as_front_sent_it(rig: Rig, tmp_path: Path) -> None:
    inbound(rig, attachments=[{"filename": "../../etc/passwd", "size": 300_000, "content_type": "text/plain"}])
    rig.record()
    rig.work()
    [(state, size, sha256, path, filename)] = rig.sql("SELECT state, size, sha256, path, filename FROM attachments")
    stored = (tmp_path / "files" / path).read_bytes()
    assert (state, size, filename) == ("stored", 300_000, "../../etc/passwd")
    assert hashlib.sha256(stored).hexdigest() == sha256


@pytest.mark.usefixtures("tenant")
def test_a_conversation_is_not_trashed_while_a_file_of_any_of_its_events_is_missing(rig: Rig) -> None:
    rig.control("faults", {"kind": "404_heals", "path_regex": "/download/", "count": 1_000})
    first = inbound(rig, attachment_count=1)
    rig.record()
    for _ in range(6):
        rig.work()
        rig.hurry()
    assert rig.sql("SELECT state, code FROM tasks WHERE kind = 'store_attachment'") == [
        ("failed", "attachment_missing")
    ]
    inbound(rig, conversation=first["conversation_id"])
    rig.record()
    rig.work()
    rig.sweep("release_stranded", "dispatch")
    assert rig.status(first["conversation_id"]) != "deleted"
    assert action_states(rig) == ["planned", "planned"]
    assert "could not be stored" in rig.one("SELECT reason FROM actions ORDER BY event_id DESC LIMIT 1")


@pytest.mark.usefixtures("tenant")
def test_retrying_the_missing_file_lets_the_conversation_go(rig: Rig) -> None:
    rig.control("faults", {"kind": "404_heals", "path_regex": "/download/", "count": 5})
    first = inbound(rig, attachment_count=1)
    rig.record()
    for _ in range(6):
        rig.work()
        rig.hurry()
    inbound(rig, conversation=first["conversation_id"])
    rig.record()
    rig.work()
    failed = rig.one("SELECT id FROM tasks WHERE state = 'failed'")
    assert rig.resources.pool.run(lambda conn: manual_changes.retry(conn, [failed], who="test")) == [failed]
    for _ in range(2):  # Front allows five requests a second for one file
        rig.work()
        time.sleep(1)
        rig.hurry()
    rig.work()
    assert rig.status(first["conversation_id"]) == "deleted"
    assert action_states(rig) == ["superseded", "confirmed"]


@pytest.mark.parametrize(
    ("action", "status", "state"),
    [
        # a person gave up on the file: archiving loses nothing, trashing would
        ("archive", "archived", "confirmed"),
        ("trash", "assigned", "skipped"),
    ],
)
def test_a_discarded_file_lets_archive_go_and_never_trash(
    rig: Rig, tenant: int, action: str, status: str, state: str
) -> None:
    rig.sql("UPDATE tenants SET action = %s WHERE id = %s", action, tenant)
    rig.control("faults", {"kind": "404_heals", "path_regex": "/download/", "count": 1_000})
    event = inbound(rig, attachment_count=1)
    rig.record()
    rig.work()
    task = rig.one("SELECT id FROM tasks WHERE kind = 'store_attachment'")
    discarded = rig.resources.pool.run(
        lambda conn: manual_changes.discard(conn, [task], who="test", reason="not needed")
    )
    assert discarded == [task]
    rig.work()
    assert action_states(rig) == [state]
    assert (rig.status(event["conversation_id"]) == status) == (action == "archive")
    assert rig.one("SELECT state FROM events") == "done"


@pytest.mark.parametrize(
    ("action", "state"),
    [("archive", "confirmed"), ("trash", "planned")],
)
def test_settled_files_are_enough_for_archive_when_the_tenant_says_so_and_never_for_trash(
    rig: Rig, tenant: int, action: str, state: str
) -> None:
    rig.sql("UPDATE tenants SET action = %s, wait_for = 'settled' WHERE id = %s", action, tenant)
    rig.control("faults", {"kind": "404_heals", "path_regex": "/download/", "count": 1_000})
    inbound(rig, attachment_count=1)
    rig.record()
    for _ in range(6):
        rig.work()
        rig.hurry()
    rig.work()
    assert action_states(rig) == [state]


@pytest.mark.usefixtures("tenant")
def test_two_files_that_are_stored_at_the_same_moment_release_the_action_once(rig: Rig) -> None:
    events = rig.send("inbound_received", "cmp_acme", recipients=TO_NORA, attachment_count=2, count=300)
    while rig.record():
        pass
    pairs = rig.sql(
        "SELECT array_agg(id) FROM tasks WHERE kind = 'store_attachment' GROUP BY event_id ORDER BY event_id"
    )
    assert len(pairs) == 300
    for (pair,) in pairs:
        _at_the_same_moment(rig, pair)
    assert rig.one("SELECT count(*)::int FROM tasks WHERE kind = 'apply_action' AND due_at <= now()") == 300
    rig.work(rounds=2_000)
    assert rig.control("verdict")["effects"] == 300
    assert rig.control("verdict")["double"] == 0
    assert {rig.status(event["conversation_id"]) for event in events} == {"deleted"}


@pytest.mark.usefixtures("tenant")
def test_the_last_files_of_two_events_of_one_conversation_release_both_actions(rig: Rig) -> None:
    for _ in range(30):
        first = inbound(rig, attachment_count=1)
        inbound(rig, conversation=first["conversation_id"], attachment_count=1)
        rig.record()
        [(pair,)] = rig.sql("SELECT array_agg(id) FROM tasks WHERE kind = 'store_attachment' AND state <> 'done'")
        _at_the_same_moment(rig, pair)
        assert rig.sql("SELECT id FROM tasks WHERE due_at = 'infinity'") == []
        rig.work()


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"kind": "cut_body"}, "download_incomplete"),
        ({"kind": "503"}, "front_unavailable"),
        ({"kind": "redirect_offsite"}, "unsafe_redirect"),
    ],
)
@pytest.mark.usefixtures("tenant")
def test_a_download_that_goes_wrong_says_what_happened(rig: Rig, fault: dict[str, str], code: str) -> None:
    rig.control("faults", {"path_regex": "/download/", "count": 20, **fault})
    inbound(rig, attachment_count=1)
    rig.record()
    rig.work()
    assert rig.one("SELECT code FROM tasks WHERE kind = 'store_attachment'") == code
    assert rig.sql("SELECT state FROM attachments WHERE state = 'stored'") == []


@pytest.mark.usefixtures("tenant")
def test_a_file_over_the_limit_fails_at_once(rig: Rig) -> None:
    object.__setattr__(rig.settings, "max_attachment_bytes", 1_000)
    inbound(rig, attachments=[{"filename": "big", "size": 1_001, "content_type": "text/plain"}])
    rig.record()
    rig.work()
    assert rig.sql("SELECT state, code FROM tasks WHERE kind = 'store_attachment'") == [
        ("failed", "attachment_too_large")
    ]


@pytest.mark.parametrize("fault", ["preview", "no_recipients", "no_attachments", "no_target"])
@pytest.mark.usefixtures("tenant")
def test_what_a_webhook_leaves_out_is_fetched(rig: Rig, fault: str) -> None:
    event = inbound(rig, attachment_count=2, fault=fault)
    rig.record()
    rig.work()
    assert rig.status(event["conversation_id"]) == "deleted"
    assert rig.sql("SELECT state, count(*)::int FROM attachments GROUP BY 1") == [("stored", 2)]
    assert rig.one("SELECT user_id IS NOT NULL FROM recipients WHERE role = 'to'") is True
    assert rig.one("SELECT message_id FROM events") == event["message_id"]


def _at_the_same_moment(rig: Rig, task_ids: list[int]) -> None:
    rig.sql("UPDATE tasks SET state = 'queued' WHERE id = ANY(%s)", task_ids)
    gate = threading.Barrier(len(task_ids))

    def run(task_id: int) -> None:
        gate.wait()
        run_task(rig.resources, STEPS, task_id)

    threads = [threading.Thread(target=run, args=(task_id,)) for task_id in task_ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
