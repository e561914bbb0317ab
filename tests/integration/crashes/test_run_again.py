"""Real workers: an event runs again, or its action is changed, beside an attempt that is frozen or was killed."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from console.access.actor import command_line_actor
from console.operations.events import CannotRunAgain, RunOrder, run_again
from console.operations.tasks import MovedOn, edit_action
from shared import queue
from tests.integration.crashes.conftest import NORA

if TYPE_CHECKING:
    from tests.integration.crashes.deployment import Deployment, Program

NINA = command_line_actor("nina")


class Mail:
    """One event whose action is begun by a worker that crashes at a failpoint."""

    def __init__(self, deployment: Deployment, point: str, how: str) -> None:
        harness = deployment.harness
        self.deployment, self.run = deployment, harness.resources.pool.run
        [sent] = harness.send("inbound_received", "cmp_acme", recipients=[{"handle": NORA, "role": "to"}])
        harness.record()
        self.conversation = sent["conversation_id"]
        [(self.number, self.task_id)] = harness.sql("SELECT event_id, id FROM tasks")
        self.worker = deployment.worker(consumes="crashing", crash_at=f"{point}:{how}")
        deployment.send_message(queue.RUN_TASK, self.task_id, consumes="crashing")
        self.worker.wait_for(f"failpoint {point}: {how}")

    def state(self) -> tuple[str, str, str]:
        """Return the states of task and action, and the action's kind."""
        query = "SELECT t.state, a.state, a.kind FROM tasks t JOIN actions a USING (event_id) WHERE t.id = %s"
        [row] = self.deployment.harness.sql(query, self.task_id)
        return row

    def wait_for_take_back(self) -> Program:
        """Start a sweeper, and wait until the task is nobody's again."""
        sweeper = self.deployment.sweeper()
        self.deployment.wait_until(lambda: self.state()[0] != "running", "the task is taken back")
        return sweeper

    def assert_nothing_can_be_changed(self) -> None:
        """Check that neither a run nor an edit is possible while the attempt owns the task."""
        with pytest.raises(CannotRunAgain, match="runs right now"):
            run_again(self.run, NINA, self.number, RunOrder(step="record"))
        with pytest.raises(MovedOn):
            edit_action(self.run, NINA, self.task_id, action="trash")

    def writes(self) -> list[dict[str, object]]:
        """Return the changes that Front received."""
        return self.deployment.harness.writes(self.conversation)


@pytest.mark.timeout(240)
def test_a_frozen_attempt_sends_nothing_after_its_action_was_changed(deployment: Deployment) -> None:
    mail = Mail(deployment, "claimed_before_run", "stop")
    mail.worker.wait_until_frozen()
    mail.assert_nothing_can_be_changed()
    sweeper = mail.wait_for_take_back()
    edit_action(mail.run, NINA, mail.task_id, action="trash")
    run_again(mail.run, NINA, mail.number, RunOrder(step="apply_action"))
    healthy = deployment.worker()
    deployment.settle()
    mail.worker.resume()
    mail.worker.wait_for('"event": "fenced"')
    for program in (mail.worker, healthy, sweeper):
        program.stop()
    assert mail.state() == ("done", "confirmed", "trash")
    assert deployment.harness.status(mail.conversation) == "deleted"
    assert len(mail.writes()) == 1


@pytest.mark.timeout(240)
@pytest.mark.parametrize("step", ["record", "apply_action"])
def test_a_change_that_a_killed_worker_sent_is_not_sent_again(deployment: Deployment, step: str) -> None:
    mail = Mail(deployment, "patched_before_confirm", "kill")
    mail.worker.wait_for_death_by(signal.SIGKILL)
    mail.assert_nothing_can_be_changed()
    sweeper = mail.wait_for_take_back()
    assert mail.state()[1] == "intent"
    with pytest.raises(MovedOn, match="nobody knows whether Front has the change"):
        edit_action(mail.run, NINA, mail.task_id, action="trash")
    run_again(mail.run, NINA, mail.number, RunOrder(step=step))  # type: ignore[arg-type]
    healthy = deployment.worker()
    deployment.settle()
    run_again(mail.run, NINA, mail.number, RunOrder(step="record"))
    deployment.settle()
    for program in (healthy, sweeper):
        program.stop()
    assert mail.state() == ("done", "confirmed", "archive")
    assert len(mail.writes()) == 1
    assert deployment.verdict()["double"] == 0
