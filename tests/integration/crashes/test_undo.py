"""Workers die during an undo, and its command is interrupted: everything is undone once."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import pytest

from shared import queue
from tests.integration.crashes.conftest import NORA
from tests.integration.crashes.deployment import CLEAN

if TYPE_CHECKING:
    from tests.integration.crashes.deployment import Deployment, Program

# A shell that runs the tests in the background makes its children ignore Ctrl-C.
INTERRUPTIBLE = (
    "-c",
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\nfrom console.cli import main; main()",
)
POINTS = ("intent_before_patch", "patched_before_confirm")
UNDO = ("-m", "console", "tenant", "policy", "Acme", "--undo-since", "1h")


def archived(deployment: Deployment, count: int) -> list[str]:
    """Archive conversations and return their ids."""
    to = [{"handle": NORA, "role": "to"}]
    events = deployment.harness.send("inbound_received", "cmp_acme", recipients=to, expect="archived", count=count)
    deployment.harness.record()
    deployment.harness.work()
    conversations = [event["conversation_id"] for event in events]
    for conversation in conversations:
        deployment.harness.control(f"conversations/{conversation}/recall", {})
    return conversations


def output_of(program: Program, code: int) -> str:
    assert program.process.wait(60) == code, program.output
    return program.output


def document(program: Program) -> dict[str, Any]:
    """Return the JSON document at the end of the output."""
    output = output_of(program, 0)
    found: dict[str, Any] = json.loads(output[output.index("{\n") :])
    return found


@pytest.mark.timeout(240)
def test_a_worker_that_dies_while_it_undoes_leaves_it_to_another_and_nothing_is_undone_twice(
    deployment: Deployment,
) -> None:
    conversations = archived(deployment, 4)
    asked = document(deployment.run("undo", *UNDO, "--yes", "--json"))
    assert (asked["open"], asked["plan"][0]["conversations"]) == (4, 4)
    tasks = [task for (task,) in deployment.harness.sql("SELECT id FROM tasks WHERE kind = 'undo_action' ORDER BY id")]
    for point, task in zip(POINTS, tasks, strict=False):
        dying = deployment.worker(consumes=point, crash_at=f"{point}:kill:undo_action")
        deployment.send_message(queue.RUN_TASK, task, consumes=point)
        dying.wait_for_death_by(signal.SIGKILL)
    deployment.worker()
    deployment.sweeper()
    deployment.settle()
    assert {deployment.harness.status(each) for each in conversations} == {"open"}
    assert len(deployment.harness.writes()) == 4 + 4
    assert deployment.verdict() == CLEAN
    assert deployment.harness.sql("SELECT DISTINCT state FROM actions") == [("undone",)]
    assert "nothing to undo" in output_of(deployment.run("again", *UNDO, "--yes"), 3)


@pytest.mark.timeout(240)
def test_an_interrupted_undo_can_be_watched_again(deployment: Deployment) -> None:
    conversations = archived(deployment, 3)
    deployment.harness.sql(
        "INSERT INTO processes (name, kind, slots, seen_at) VALUES ('w', 'worker', 1, now() + interval '1 h')"
    )
    watching = deployment.run("undo", *INTERRUPTIBLE, *UNDO[2:], "--yes")
    asked = "SELECT count(*)::int FROM tasks WHERE kind = 'undo_action'"
    deployment.wait_until(lambda: deployment.harness.one(asked) == 3, "it is asked for")
    deployment.wait_until(lambda: "undoing" in watching.output, "it watches")
    watching.process.send_signal(signal.SIGINT)
    assert "it goes on without you" in output_of(watching, 0)
    again = deployment.run("again", *UNDO, "--yes", "--json")
    deployment.worker()
    deployment.sweeper()
    outcome = document(again)
    assert (outcome["undone"], outcome["open"]) == (3, 0)
    assert {deployment.harness.status(each) for each in conversations} == {"open"}
    assert deployment.verdict() == CLEAN
