"""A worker dies or freezes at every point of an attempt: another worker does the work, and nothing happens twice.

All workers crash at once within one lease. Each crashing worker has its own queue, and so its own task. The sweeper
that takes the tasks back dies in the same round.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from shared import queue
from tests.integration.crashes.conftest import NORA
from tests.integration.crashes.deployment import CLEAN, Deployment, Program

if TYPE_CHECKING:
    from collections.abc import Iterable

SIZE = 3 * 2**20
POINTS = {
    "claimed_before_run": "apply_action",
    "half_stored": "store_attachment",
    "stored_before_settle": "store_attachment",
    "intent_before_patch": "apply_action",
    "patched_before_confirm": "apply_action",
}
# States of the task, its action and its file, and the number of writes to Front, after the crash.
LEFT = {
    "claimed_before_run": ("running", "planned", None, 0),
    "half_stored": ("running", "planned", "waiting", 0),
    "stored_before_settle": ("running", "planned", "waiting", 0),
    "intent_before_patch": ("running", "intent", None, 0),
    "patched_before_confirm": ("running", "intent", None, 1),
}


@dataclass(frozen=True, kw_only=True)
class Crash:
    """A worker, its task, and the failpoint where it crashes."""

    point: str
    how: str
    task_id: int
    event: dict[str, Any]
    worker: Program


def crash(deployment: Deployment, point: str, how: str) -> Crash:
    """Start a worker that will crash at this failpoint, with a task that reaches it."""
    kind, name = POINTS[point], f"{point}_{how}"
    files = [{"filename": "film.mp4", "size": SIZE}] if kind == "store_attachment" else []
    to = [{"handle": NORA, "role": "to"}]
    [event] = deployment.harness.send(
        "inbound_received", "cmp_acme", recipients=to, attachments=files, expect="archived"
    )
    deployment.harness.record()
    task_id = deployment.harness.one(
        "SELECT t.id FROM tasks t JOIN events e ON e.id = t.event_id WHERE e.front_id = %s AND t.kind = %s",
        event["event_id"],
        kind,
    )
    worker = deployment.worker(consumes=name, crash_at=f"{point}:{how}")
    deployment.send_message(queue.RUN_TASK, task_id, consumes=name)
    return Crash(point=point, how=how, task_id=task_id, event=event, worker=worker)


def state_after(deployment: Deployment, crash: Crash) -> tuple[str, str, str | None, int]:
    [(task, action, file)] = deployment.harness.sql(
        "SELECT t.state, a.state, f.state FROM tasks t JOIN actions a USING (event_id)"
        " LEFT JOIN attachments f ON f.id = t.attachment_id WHERE t.id = %s",
        crash.task_id,
    )
    return task, action, file, len(deployment.harness.writes(crash.event["conversation_id"]))


def sizes(deployment: Deployment, folder: str = "files") -> list[int]:
    """Return the sizes of all files in the storage, partial files included."""
    return [each.stat().st_size for each in (deployment.folder / folder).rglob("*") if each.is_file()]


def wait_for_crashes(crashes: Iterable[Crash]) -> None:
    for each in crashes:
        each.worker.wait_for(f"failpoint {each.point}: {each.how}")
        if each.how == "kill":
            each.worker.wait_for_death_by(signal.SIGKILL)
        else:
            each.worker.wait_until_frozen()


@pytest.mark.timeout(240)
def test_another_worker_ends_the_attempt_of_a_dead_or_frozen_one_once(deployment: Deployment) -> None:
    crashes = [crash(deployment, point, how) for point in POINTS for how in ("kill", "stop")]
    healthy = deployment.worker()
    wait_for_crashes(crashes)
    assert {(each.point, each.how): state_after(deployment, each) for each in crashes} == {
        (each.point, each.how): LEFT[each.point] for each in crashes
    }
    whole = [size for size in sizes(deployment) if size == SIZE]
    assert len(whole) == 2  # stored_before_settle: the file exists, and no row has it
    dying = deployment.sweeper(crash_at="taken_back_before_dispatch")
    dying.wait_for("sweeping")
    stand_by = deployment.sweeper()
    dying.wait_for_death_by(signal.SIGKILL)
    deployment.settle()
    patched = {each.point: len(deployment.harness.writes(each.event["conversation_id"])) for each in crashes}
    assert patched == dict.fromkeys(POINTS, 1)

    for each in (frozen := [each for each in crashes if each.how == "stop"]):
        each.worker.resume()
    for each in frozen:
        each.worker.wait_for('"event": "fenced"')
    for program in (*(each.worker for each in frozen), healthy, stand_by):
        program.stop()
    assert deployment.verdict() == CLEAN
    assert len(deployment.harness.writes()) == len(crashes)
    assert {deployment.harness.status(each.event["conversation_id"]) for each in crashes} == {"archived"}
    files = sum(kind == "store_attachment" for kind in POINTS.values()) * 2
    assert sizes(deployment) == [SIZE] * files
    ids = [each.task_id for each in crashes]
    assert deployment.harness.sql("SELECT DISTINCT attempts FROM tasks WHERE id = ANY(%s)", ids) == [(2,)]
