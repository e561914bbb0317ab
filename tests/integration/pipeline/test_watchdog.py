"""A live worker that gets no messages ends itself; an idle or busy worker goes on."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from bench.harness.processes import wait_until
from shared import queue
from tests.integration.pipeline.running_worker import running_worker
from workers.process.watchdog import EXIT_GAVE_UP

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.pipeline.harness import Harness

DEAF = "bench.harness.deaf_worker"
ENDS_WITHIN = 60.0  # seconds; a busy machine needs more than five
MANY_WATCHDOG_INTERVALS = 3.0


def send(harness: Harness, name: str, count: int) -> None:
    """Put messages for tasks that do not exist into the queue."""
    app = queue.celery_app(harness.settings)
    for number in range(count):
        queue.send(app, name, *([-number] if name == queue.RUN_TASK else []))
    app.close()


@pytest.mark.parametrize(
    ("how", "listens_to", "name", "last_words"),
    [
        # a normal stop, where the process still reacts
        ("cancel", "work", queue.RUN_TASK, "worker_gives_up"),
        ("cancel", "record", queue.RECORD_INTAKE, "worker_gives_up"),
        ("hang", "work", queue.RUN_TASK, "worker_ends_by_force"),
    ],
)
def test_a_deaf_process_ends_itself(
    harness: Harness,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    how: str,
    listens_to: str,
    name: str,
    last_words: str,
) -> None:
    mark = tmp_path / "mark"
    with running_worker(harness, app=DEAF, queue=listens_to, slots=1, DEAF_HOW=how, DEAF_MARK=str(mark)) as worker:
        assert wait_until(mark.exists, ENDS_WITHIN)
        send(harness, name, 3)
        assert worker.wait(ENDS_WITHIN) == EXIT_GAVE_UP
    said = "".join(capfd.readouterr())
    assert [word for word in ("worker_gives_up", "worker_ends_by_force") if word in said][-1] == last_words


def test_an_idle_worker_is_left_alone(harness: Harness, tmp_path: Path) -> None:
    with running_worker(harness, app=DEAF, DEAF_MARK=str(tmp_path / "mark"), DEAF_SECONDS="0.6") as worker:
        time.sleep(MANY_WATCHDOG_INTERVALS)
        send(harness, queue.RUN_TASK, 3)
        time.sleep(MANY_WATCHDOG_INTERVALS)
        assert worker.poll() is None
        worker.terminate()
        assert worker.wait(ENDS_WITHIN) == 0


def test_a_worker_whose_slots_are_taken_by_slow_files_is_left_alone(harness: Harness, tmp_path: Path) -> None:
    tenant = harness.tenant("cmp_acme")
    harness.user(tenant, "nora@acme.example")
    harness.control("faults", {"kind": "slow_body", "path_regex": "/download/", "seconds": 3 * MANY_WATCHDOG_INTERVALS})
    to_nora = [{"handle": "nora@acme.example", "role": "to"}]
    harness.send(
        "inbound_received", "cmp_acme", recipients=to_nora, attachments=[{"filename": "film.mp4", "size": 2**20}]
    )
    harness.record()
    app = queue.celery_app(harness.settings)
    with running_worker(harness, app=DEAF, slots=1, DEAF_MARK=str(tmp_path / "mark"), DEAF_SECONDS="0.6") as worker:
        harness.messages.sent.clear()
        queue.send(app, queue.RUN_TASK, harness.one("SELECT id FROM tasks WHERE kind = 'store_attachment'"))
        send(harness, queue.RUN_TASK, 3)
        assert wait_until(lambda: harness.one("SELECT count(*) FROM tasks WHERE state = 'running'") == 1, ENDS_WITHIN)
        time.sleep(MANY_WATCHDOG_INTERVALS)
        assert (harness.one("SELECT count(*) FROM tasks WHERE state = 'running'"), worker.poll()) == (1, None)
    app.close()
