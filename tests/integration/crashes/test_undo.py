"""Workers die while they undo, and whoever asked for it goes away: everything is undone, and once."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import pytest

from shared import queue
from tests.integration.crashes.conftest import NORA
from tests.integration.crashes.site import CLEAN

if TYPE_CHECKING:
    from tests.integration.crashes.site import Program, Site

# A shell that put the tests into the background has its children ignore Ctrl-C.
INTERRUPTIBLE = (
    "-c",
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\nfrom console.cli import main; main()",
)
POINTS = ("intent_before_patch", "patched_before_confirm")
UNDO = ("-m", "console", "tenant", "policy", "Acme", "--undo-since", "1h")


def archived(site: Site, count: int) -> list[str]:
    """Conversations that we archived, and that somebody wants back."""
    to = [{"handle": NORA, "role": "to"}]
    events = site.rig.send("inbound_received", "cmp_acme", recipients=to, expect="archived", count=count)
    site.rig.record()
    site.rig.work()
    conversations = [event["conversation_id"] for event in events]
    for conversation in conversations:
        site.rig.control(f"conversations/{conversation}/recall", {})
    return conversations


def ended(program: Program, code: int) -> str:
    assert program.process.wait(60) == code, program.shown
    return program.shown


def document(program: Program) -> dict[str, Any]:
    """The JSON at the end of what it printed."""
    shown = ended(program, 0)
    found: dict[str, Any] = json.loads(shown[shown.index("{\n") :])
    return found


@pytest.mark.timeout(240)
def test_a_worker_that_dies_while_it_undoes_leaves_it_to_another_and_nothing_is_undone_twice(site: Site) -> None:
    conversations = archived(site, 4)
    asked = document(site.run("undo", *UNDO, "--yes", "--json"))
    assert (asked["open"], asked["plan"][0]["conversations"]) == (4, 4)
    tasks = [task for (task,) in site.rig.sql("SELECT id FROM tasks WHERE kind = 'undo_action' ORDER BY id")]
    for point, task in zip(POINTS, tasks, strict=False):
        dying = site.worker(consumes=point, crash_at=f"{point}:kill:undo_action")
        site.tell(queue.RUN_TASK, task, consumes=point)
        dying.died_of(signal.SIGKILL)
    site.worker()
    site.sweeper()
    site.settle()
    assert {site.rig.status(each) for each in conversations} == {"open"}
    assert len(site.rig.writes()) == 4 + 4
    assert site.verdict() == CLEAN
    assert site.rig.sql("SELECT DISTINCT state FROM actions") == [("undone",)]
    assert "nothing to undo" in ended(site.run("again", *UNDO, "--yes"), 3)


@pytest.mark.timeout(240)
def test_whoever_goes_away_while_it_is_undone_can_watch_again(site: Site) -> None:
    conversations = archived(site, 3)
    site.rig.sql("INSERT INTO processes (name, kind, slots, seen_at) VALUES ('w', 'worker', 1, now() + interval '1 h')")
    watching = site.run("undo", *INTERRUPTIBLE, *UNDO[2:], "--yes")
    asked = "SELECT count(*)::int FROM tasks WHERE kind = 'undo_action'"
    site.until(lambda: site.rig.one(asked) == 3, "it is asked for")
    site.until(lambda: "undoing" in watching.shown, "it watches")
    watching.process.send_signal(signal.SIGINT)
    assert "it goes on without you" in ended(watching, 0)
    again = site.run("again", *UNDO, "--yes", "--json")
    site.worker()
    site.sweeper()
    outcome = document(again)
    assert (outcome["undone"], outcome["open"]) == (3, 0)
    assert {site.rig.status(each) for each in conversations} == {"open"}
    assert site.verdict() == CLEAN
