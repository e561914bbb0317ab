"""`mailroom up` starts, restarts and stops its programs: small ones, on given servers."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

import redis

from console.up.data_folder import settings_file
from shared import queue
from shared.settings import Settings
from tests.integration.start.conftest import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.integration.start.conftest import Started

    Start = Callable[..., Started]

SLOW_TO_STOP = "worker: echo started; trap 'sleep 1; echo finished; exit 0' TERM; while :; do sleep 0.05; done"
NEVER_STOPS = "worker: echo started; trap '' TERM; while :; do sleep 0.05; done"


def shell(line: str) -> str:
    """Wrap the Procfile line in a shell of its own, because `up` runs each command with `exec`."""
    name, _, script = line.partition(": ")
    return f'{name}: sh -c "{script}"\n'


def test_output_carries_the_name_of_its_program(start: Start, given_servers: dict[str, str]) -> None:
    start(shell("web: echo hello; sleep 100") + shell("sweeper: sleep 100"), **given_servers).wait_for(
        "web     | hello"
    )


def test_a_command_may_use_the_environment(start: Start, given_servers: dict[str, str]) -> None:
    start("worker: echo ${WORKER_THREADS:-16} threads\n", **given_servers, WORKER_THREADS="3").wait_for(
        "worker | 3 threads"
    )


def test_ctrl_c_lets_a_running_task_finish(start: Start, given_servers: dict[str, str]) -> None:
    up = start(shell(SLOW_TO_STOP), **given_servers)
    up.wait_for("started")
    up.interrupt()
    assert (up.ended(), "finished" in up.output) == (0, True)


def test_a_second_ctrl_c_does_not_wait(start: Start, given_servers: dict[str, str]) -> None:
    up = start(shell(NEVER_STOPS), **given_servers)
    up.wait_for("started")
    up.interrupt()
    time.sleep(0.3)
    asked = time.monotonic()
    up.interrupt()
    assert (up.ended(), time.monotonic() - asked < 15) == (0, True)


def test_a_dead_program_is_started_again(start: Start, given_servers: dict[str, str]) -> None:
    up = start(shell("worker: echo started; exit 3"), **given_servers)
    up.wait_for("worker | started", times=2)
    assert "worker ended (status 3); starting it again in 0.5 s" in up.output


def test_a_worker_that_heard_nothing_any_more_is_started_again(
    start: Start, database: str, redis_db: str, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    up = start(
        "worker: celery -q -A bench.harness.deaf_worker worker -Q work -P threads --concurrency 1"
        " --without-gossip --without-mingle --without-heartbeat\n",
        DATABASE_URL=database,
        REDIS_URL=redis_db,
        DEAF_HOW="cancel",
        DEAF_MARK=str(mark),
    )
    wait_until(mark.exists, "the worker is deaf")
    with queue.celery_app(Settings(redis_url=redis_db)) as app, redis.Redis.from_url(redis_db) as client:
        queue.send(app, queue.RUN_TASK, -1)
        up.wait_for("worker ended (status 70); starting it again")
        wait_until(lambda: client.llen(queue.WORK_QUEUE) == 0, "the next one takes the message")


def test_a_wrong_configuration_ends_everything(start: Start, given_servers: dict[str, str]) -> None:
    up = start(shell("worker: exit 78") + shell("web: sleep 100"), **given_servers)
    assert up.ended() == 78


def test_a_wrong_setting_is_named_before_anything_starts(start: Start, given_servers: dict[str, str]) -> None:
    up = start(shell("worker: sleep 100"), **given_servers, WORKER_THREADS="many")
    assert (up.ended(), "WORKER_THREADS" in up.output) == (78, True)


def test_a_database_that_does_not_answer_is_named(start: Start, given_servers: dict[str, str]) -> None:
    up = start(shell("worker: sleep 100"), **(given_servers | {"DATABASE_URL": "postgresql://127.0.0.1:9/none"}))
    assert (up.ended(), "check DATABASE_URL" in up.output) == (1, True)


def test_a_taken_port_is_named(start: Start, given_servers: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        up = start("web: sleep 100", **given_servers, PORT=str(port))
        assert up.ended() == 1
    assert f"taken: port {port} (web)" in up.output


def test_a_second_start_in_the_same_folder_is_refused(start: Start, given_servers: dict[str, str]) -> None:
    first = start(shell("worker: echo started; sleep 100"), **given_servers)
    first.wait_for("started")
    second = start(shell("worker: sleep 100"), **given_servers, folder=first.data.parent)
    assert (second.ended(), "already running" in second.output) == (1, True)


def test_secrets_outlive_a_start_and_are_nobody_elses(start: Start, given_servers: dict[str, str]) -> None:
    first = start(shell("worker: exit 78"), **given_servers)
    first.ended()
    before = first.published()
    second = start(shell("worker: exit 78"), **given_servers, folder=first.data.parent)
    second.ended()
    assert second.published() == before
    assert settings_file(second.data).stat().st_mode & 0o777 == 0o600


def test_the_console_is_where_it_listens_unless_somebody_says_otherwise(
    start: Start, given_servers: dict[str, str]
) -> None:
    program = shell("web: echo at $PUBLIC_URL; sleep 100")
    start(program, **given_servers, CONSOLE_PORT="9123").wait_for("at http://localhost:9123")
    start(program, **given_servers, PUBLIC_URL="https://m.example").wait_for("at https://m.example")
