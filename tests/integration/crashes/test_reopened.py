"""Front applied a change, its answer was lost, and a person reopened the conversation: it stays open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.integration.crashes.conftest import NORA
from tests.integration.crashes.site import CLEAN
from workers.attempts.run import run_task
from workers.steps import STEPS

if TYPE_CHECKING:
    from tests.integration.crashes.site import Site

TIMES = 50


def test_what_a_person_reopened_after_a_lost_answer_is_never_closed_again(site: Site) -> None:
    rig = site.rig
    rig.control("faults", {"kind": "reset_after", "method": "PATCH", "count": TIMES})
    to = [{"handle": NORA, "role": "to"}]
    rig.send("inbound_received", "cmp_acme", recipients=to, expect="archived", count=TIMES)
    rig.record()
    for (task_id,) in rig.sql("SELECT id FROM tasks"):  # each once, however long that takes
        run_task(rig.resources, STEPS, task_id)
    conversations = [conversation for (conversation,) in rig.sql("SELECT conversation_id FROM actions")]
    assert rig.sql("SELECT state, code, count(*)::int FROM tasks GROUP BY 1, 2") == [("ready", "unclear_answer", TIMES)]
    assert {rig.status(conversation) for conversation in conversations} == {"archived"}

    for conversation in conversations:
        rig.control(f"conversations/{conversation}/act", {"do": "reopen"})
    rig.hurry()
    rig.work()
    assert len(rig.writes()) == TIMES
    assert site.verdict() == CLEAN
    assert {rig.status(conversation) for conversation in conversations} == {"open"}
    assert rig.sql("SELECT state, count(*)::int FROM actions GROUP BY 1") == [("confirmed", TIMES)]
