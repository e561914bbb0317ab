"""A recorder dies in the middle of a chunk: the next recorder records the chunk once."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from shared import queue
from tests.integration.crashes.conftest import NORA
from tests.integration.crashes.deployment import CLEAN, ROOT
from tests.integration.pipeline.test_recording import receive
from workers.recording.recorder import DEADLY_TRIES

if TYPE_CHECKING:
    from tests.integration.crashes.deployment import Deployment

# Number of events, states of tasks, entries of the intake and in-flight marks, after the crash.
LEFT = {
    "marked_before_record": (0, [], 1, 1),
    "recorded_before_dispatch": (1, [("queued",)], 1, 0),
    "recorded_before_delete": (1, [("queued",)], 1, 0),
}
STATES = "SELECT (SELECT count(*)::int FROM events), (SELECT count(*)::int FROM in_flight_entries)"
SEGFAULTS = """
import ctypes, sys
from shared import queue
from shared.settings import load
from workers.recording import parse
from workers.resources import open_resources

parse_envelope = parse.parse_envelope
def deadly(body):
    return ctypes.string_at(0) if b"evt_deadly" in body else parse_envelope(body)
parse.parse_envelope = deadly
settings = load()
resources = open_resources(settings, queue.celery_app(settings), kind="recorder")
recorder = resources.recorder
recorder._reader._size = int(sys.argv[1])
recorder.drain()
resources.close()
"""


@pytest.mark.parametrize("point", LEFT)
def test_a_recorder_that_dies_is_followed_by_one_that_records_once(deployment: Deployment, point: str) -> None:
    harness = deployment.harness
    harness.send("inbound_received", "cmp_acme", recipients=[{"handle": NORA, "role": "to"}], expect="archived")
    dying = deployment.recorder(crash_at=point)
    deployment.send_message(queue.RECORD_INTAKE, consumes=queue.RECORD_QUEUE)
    dying.wait_for_death_by(signal.SIGKILL)
    [(events, marks)] = harness.sql(STATES)
    tasks = harness.sql("SELECT state FROM tasks")
    assert (events, tasks, harness.resources.intake.depth(), marks) == LEFT[point]

    assert harness.record() == 1
    harness.sql("UPDATE tasks SET state = 'ready', lease_until = NULL")  # no worker here takes its message
    harness.work()
    assert deployment.verdict() == CLEAN
    assert len(harness.writes()) == 1
    assert harness.sql("SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM deliveries)") == [(1, 1)]


@pytest.mark.parametrize("size", [1000, 1], ids=["in its chunk", "while it is read ahead"])
def test_a_body_that_kills_every_recorder_is_kept_unparsed_and_holds_up_no_other(
    deployment: Deployment, size: int
) -> None:
    for name in ("evt_before", "evt_deadly", "evt_after"):
        receive(deployment.harness, payload={"id": name})
    ends = [record_deadly(deployment, size) for _ in range(DEADLY_TRIES + 1)]
    assert ends == [-signal.SIGSEGV] * DEADLY_TRIES + [0]
    assert deployment.harness.sql("SELECT type, state, count(*)::int FROM events GROUP BY 1, 2 ORDER BY 1") == [
        ("inbound_received", "done", 2),
        ("malformed", "failed", 1),
    ]
    assert deployment.harness.sql("SELECT state, code FROM tasks WHERE kind = 'record'") == [
        ("failed", "malformed_envelope")
    ]


def record_deadly(deployment: Deployment, size: int) -> int:
    return subprocess.run(
        [sys.executable, "-c", SEGFAULTS, str(size)],
        env=deployment.environment,
        cwd=ROOT,
        capture_output=True,
        check=False,
    ).returncode
