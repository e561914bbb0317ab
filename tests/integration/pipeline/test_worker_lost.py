"""A task that lost too many workers fails with its file and event, even if the sweeper dies meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from shared.db.tasks import rescue
from shared.errors import StoreUnavailable
from tests.integration.pipeline.test_actions import inbound
from workers.sweeping import periodic_jobs

if TYPE_CHECKING:
    from tests.integration.pipeline.harness import Harness

NORA = "nora@acme.example"


@pytest.fixture
def task_id(harness: Harness) -> int:
    """The task of an event's only file, one worker death before it fails."""
    harness.user(harness.tenant("cmp_acme"), NORA)
    inbound(harness, attachment_count=1)
    harness.record()
    task_id = int(harness.one("SELECT id FROM tasks WHERE kind = 'store_attachment'"))
    for _ in range(rescue.MAX_WORKER_DEATHS - 1):
        lose_worker(harness, task_id)
        harness.sweep("take_back")
    return task_id


def lose_worker(harness: Harness, task_id: int) -> None:
    harness.claim(task_id)
    harness.sql("UPDATE tasks SET lease_until = now() - interval '1 second' WHERE state = 'running'")


def states(harness: Harness) -> tuple[str, str, str]:
    [row] = harness.sql(
        "SELECT t.state, f.state, e.state FROM tasks t JOIN events e ON e.id = t.event_id"
        " JOIN attachments f ON f.id = t.attachment_id"
    )
    return row


def test_the_file_and_event_of_the_task_fail_with_it(harness: Harness, task_id: int) -> None:
    lose_worker(harness, task_id)
    harness.sweep("take_back")
    assert states(harness) == ("failed", "failed", "failed")


def test_a_sweeper_that_dies_between_leaves_nothing_half_done(
    harness: Harness, task_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_worker(harness, task_id)

    def killed(*_: object, **__: object) -> None:
        raise StoreUnavailable("the sweeper was killed here")

    with monkeypatch.context() as dying:
        dying.setattr(periodic_jobs.settling, "update_event_state", killed)
        with pytest.raises(StoreUnavailable):
            harness.sweep("take_back")
    harness.sweep("take_back")
    assert states(harness) == ("failed", "failed", "failed")


def test_a_task_that_somebody_holds_does_not_keep_others_from_being_taken_back(
    harness: Harness, database: str, task_id: int
) -> None:
    inbound(harness)
    harness.record()
    harness.sql(
        "UPDATE tasks SET state = 'queued', lease_until = now() WHERE kind = 'apply_action' AND due_at <= now()"
    )
    lose_worker(harness, task_id)
    with psycopg.connect(database) as stuck:
        stuck.execute("SELECT 1 FROM tasks WHERE id = %s FOR UPDATE", (task_id,))
        harness.sweep("take_back")
    assert harness.one("SELECT count(*)::int FROM tasks WHERE state = 'queued'") == 0
