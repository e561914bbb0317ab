"""Front applied a change, the answer was lost, and a person reopened the conversation: it stays open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.integration.crashes.conftest import NORA
from tests.integration.crashes.deployment import CLEAN
from workers.attempts.run import run_task
from workers.steps import STEPS

if TYPE_CHECKING:
    from tests.integration.crashes.deployment import Deployment

TIMES = 50


def test_a_conversation_reopened_after_a_lost_answer_is_never_closed_again(deployment: Deployment) -> None:
    harness = deployment.harness
    harness.control("faults", {"kind": "reset_after", "method": "PATCH", "count": TIMES})
    to = [{"handle": NORA, "role": "to"}]
    harness.send("inbound_received", "cmp_acme", recipients=to, expect="archived", count=TIMES)
    harness.record()
    for (task_id,) in harness.sql("SELECT id FROM tasks"):  # each task once, without a limit of time
        run_task(harness.resources, STEPS, task_id)
    conversations = [conversation for (conversation,) in harness.sql("SELECT conversation_id FROM actions")]
    assert harness.sql("SELECT state, code, count(*)::int FROM tasks GROUP BY 1, 2") == [
        ("ready", "unclear_answer", TIMES)
    ]
    assert {harness.status(conversation) for conversation in conversations} == {"archived"}

    for conversation in conversations:
        harness.control(f"conversations/{conversation}/act", {"do": "reopen"})
    harness.make_due()
    harness.work()
    assert len(harness.writes()) == TIMES
    assert deployment.verdict() == CLEAN
    assert {harness.status(conversation) for conversation in conversations} == {"open"}
    assert harness.sql("SELECT state, count(*)::int FROM actions GROUP BY 1") == [("confirmed", TIMES)]
