"""`mailroom up` starts, restarts and stops its embedded servers."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import psutil
import psycopg
import pytest
import redis

from tests.integration.start.conftest import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.start.conftest import Started

    Start = Callable[..., Started]

# This program has a child of its own, like the door.
WITH_A_CHILD = "worker: echo started; sleep 1000 & wait"


@pytest.fixture
def up(start: Start) -> Started:
    """Start `up` with embedded servers and one program."""
    script = WITH_A_CHILD.partition(": ")[2]
    started = start(f'worker: sh -c "{script}"\n', DATABASE_URL="", REDIS_URL="")
    started.wait_for("started")
    return started


def postgres_answers(url: str) -> bool:
    try:
        with psycopg.connect(url) as conn:
            return conn.execute("SELECT count(*) > 0 FROM schema_migrations").fetchone() == (True,)
    except psycopg.OperationalError:
        return False


def valkey_answers(url: str) -> bool:
    with redis.Redis.from_url(url) as client:
        try:
            return bool(client.ping())
        except redis.ConnectionError:
            return False


def gone(family: list[psutil.Process]) -> bool:
    _, alive = psutil.wait_procs(family, timeout=10)
    return not alive


def test_other_commands_find_the_servers(up: Started) -> None:
    found = up.published()
    assert postgres_answers(found["DATABASE_URL"])
    assert valkey_answers(found["REDIS_URL"])


def test_an_orderly_end_leaves_no_process_and_no_url(up: Started) -> None:
    family = up.descendants()
    up.interrupt()
    assert up.ended() == 0
    assert gone(family)
    assert set(up.published()) == {"FRONT_SIGNING_KEYS", "TOKEN_KEYS", "SECRET_KEY"}


def test_a_kill_leaves_no_process_and_keeps_the_data(up: Started, start: Start) -> None:
    family = up.descendants()
    assert {"postgres", "valkey-server", "sleep"} <= {member.name() for member in family}
    with psycopg.connect(up.published()["DATABASE_URL"]) as conn:
        conn.execute("CREATE TABLE kept ()")
    up.process.kill()
    assert gone(family)
    again = start("worker: echo again\n", DATABASE_URL="", REDIS_URL="", folder=up.data.parent)
    again.wait_for("worker | again")
    with psycopg.connect(again.published()["DATABASE_URL"]) as conn:
        assert conn.execute("SELECT to_regclass('kept') IS NOT NULL").fetchone() == (True,)


@pytest.mark.parametrize(
    ("program", "setting", "answers"),
    [("postgres", "DATABASE_URL", postgres_answers), ("valkey-server", "REDIS_URL", valkey_answers)],
)
def test_a_server_that_dies_comes_back_under_the_same_url(
    up: Started, program: str, setting: str, answers: Callable[[str], bool]
) -> None:
    up.child(program).send_signal(signal.SIGKILL)
    url = up.published()[setting]
    up.wait_for("ended (SIGKILL); starting it again")
    wait_until(lambda: answers(url), f"{program} answers again")
    assert up.output.count("started") == 1
