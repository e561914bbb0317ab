"""A task that lost too many workers ends together with all that hangs on it, whoever dies meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from shared.db.tasks import rescue
from shared.errors import StoreUnavailable
from tests.integration.pipeline.test_actions import inbound
from workers.sweeping import periodic_jobs

if TYPE_CHECKING:
    from tests.integration.pipeline.rig import Rig

NORA = "nora@acme.example"


@pytest.fixture
def task_id(rig: Rig) -> int:
    """The task of an event's only file, after one death less than it may cost."""
    rig.user(rig.tenant("cmp_acme"), NORA)
    inbound(rig, attachment_count=1)
    rig.record()
    task_id = int(rig.one("SELECT id FROM tasks WHERE kind = 'store_attachment'"))
    for _ in range(rescue.MAX_WORKER_DEATHS - 1):
        die(rig, task_id)
        rig.sweep("take_back")
    return task_id


def die(rig: Rig, task_id: int) -> None:
    rig.claim(task_id)
    rig.sql("UPDATE tasks SET lease_until = now() - interval '1 second' WHERE state = 'running'")


def states(rig: Rig) -> tuple[str, str, str]:
    [row] = rig.sql(
        "SELECT t.state, f.state, e.state FROM tasks t JOIN events e ON e.id = t.event_id"
        " JOIN attachments f ON f.id = t.attachment_id"
    )
    return row


def test_its_file_and_event_fail_with_it(rig: Rig, task_id: int) -> None:
    die(rig, task_id)
    rig.sweep("take_back")
    assert states(rig) == ("failed", "failed", "failed")


def test_a_sweeper_that_dies_between_leaves_nothing_half_done(
    rig: Rig, task_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    die(rig, task_id)

    def killed(*_: object, **__: object) -> None:
        raise StoreUnavailable("the sweeper was killed here")

    with monkeypatch.context() as dying:
        dying.setattr(periodic_jobs.settling, "update_event_state", killed)
        with pytest.raises(StoreUnavailable):
            rig.sweep("take_back")
    rig.sweep("take_back")
    assert states(rig) == ("failed", "failed", "failed")


def test_a_task_that_somebody_holds_does_not_keep_others_from_being_taken_back(
    rig: Rig, database: str, task_id: int
) -> None:
    inbound(rig)
    rig.record()
    rig.sql("UPDATE tasks SET state = 'queued', lease_until = now() WHERE kind = 'apply_action' AND due_at <= now()")
    die(rig, task_id)
    with psycopg.connect(database) as stuck:
        stuck.execute("SELECT 1 FROM tasks WHERE id = %s FOR UPDATE", (task_id,))
        rig.sweep("take_back")
    assert rig.one("SELECT count(*)::int FROM tasks WHERE state = 'queued'") == 0
