"""Redis or PostgreSQL, or both, are killed, frozen or full: the door answers in time and keeps all it acknowledges."""

from __future__ import annotations

import json
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import psutil
import redis

from tests.integration.door.door_process import Answer, Door, delivery_ids, frozen, in_intake, in_spool, statuses

if TYPE_CHECKING:
    from console.up.embedded import Postgres, Valkey

IN_TIME = 2.0  # seconds


def are_in_time(answers: list[Answer]) -> bool:
    """Whether 99 of 100 answers took less than two seconds for the sender, because some sender threads start late."""
    print(f"slowest of {len(answers)}: {max(answer.seconds for answer in answers):.2f} s")
    return sum(answer.seconds < IN_TIME for answer in answers) >= 0.99 * len(answers)


def kept_ids(own_postgres: Postgres, own_valkey: Valkey) -> set[str]:
    return {*in_intake(own_valkey.url), *in_spool(own_postgres.url)}


def wait_until_all_are_accepted(door: Door, redis_url: str | None = None) -> None:
    """Wait until every process of the door has noticed that a store, or Redis itself, is back."""
    deadline = time.monotonic() + 15
    while True:
        ids = delivery_ids(door.post_many(16, at_once=8))
        if len(ids) == 16 and (redis_url is None or ids <= set(in_intake(redis_url))):
            return
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_killed_redis_costs_nothing_but_the_way(door: Door, own_postgres: Postgres, own_valkey: Valkey) -> None:
    answers = door.post_many(20, at_once=8)
    own_valkey.kill()
    answers += door.post_many(100, at_once=32)
    own_valkey.start()
    assert statuses(answers) == {200: 120}
    assert are_in_time(answers)
    assert kept_ids(own_postgres, own_valkey) == delivery_ids(answers)


def test_it_goes_back_to_redis_by_itself(door: Door, own_valkey: Valkey) -> None:
    own_valkey.kill()
    door.post()
    own_valkey.start()
    wait_until_all_are_accepted(door, own_valkey.url)


def test_a_frozen_redis_is_waited_for_by_the_first_only(door: Door, own_postgres: Postgres, own_valkey: Valkey) -> None:
    answers = door.post_many(20, at_once=8)
    with frozen(own_valkey):
        first = door.post_many(64, at_once=64)
        later = door.post_many(64, at_once=64)
    answers += first + later
    assert statuses(answers) == {200: 148}
    assert are_in_time(answers)
    assert delivery_ids(answers) <= kept_ids(own_postgres, own_valkey)


def test_a_full_redis_sends_deliveries_to_the_spool(door: Door, own_postgres: Postgres, own_valkey: Valkey) -> None:
    with redis.Redis.from_url(own_valkey.url) as client:
        client.config_set("maxmemory", "1mb")
        answers = door.post_many(50, at_once=16)
        client.config_set("maxmemory", "0")
    assert statuses(answers) == {200: 50}
    assert set(in_spool(own_postgres.url)) == delivery_ids(answers)
    assert in_intake(own_valkey.url) == []


def test_a_redis_that_became_a_replica_sends_deliveries_to_the_spool(
    door: Door, own_postgres: Postgres, own_valkey: Valkey
) -> None:
    with redis.Redis.from_url(own_valkey.url) as client:
        client.execute_command("REPLICAOF", "127.0.0.1", "1")
        answers = door.post_many(50, at_once=16)
        client.execute_command("REPLICAOF", "NO", "ONE")
    assert statuses(answers) == {200: 50}
    assert set(in_spool(own_postgres.url)) == delivery_ids(answers)


def test_connections_reset_all_the_time_cost_nothing_but_the_way(
    door: Door, own_postgres: Postgres, own_valkey: Valkey
) -> None:
    answers = door.post_many(20, at_once=8)
    stop = threading.Event()
    with ThreadPoolExecutor(1) as thread, redis.Redis.from_url(own_valkey.url) as client:
        resets = thread.submit(reset_connections, client, stop)
        answers += door.post_many(400, at_once=32)
        stop.set()
        assert resets.result() > 0
    assert statuses(answers) == {200: 420}
    assert are_in_time(answers)
    assert delivery_ids(answers) <= kept_ids(own_postgres, own_valkey)


def reset_connections(client: redis.Redis, stop: threading.Event) -> int:
    """Have Redis close all connections but this one repeatedly; return how many it closed."""
    count = 0
    while not stop.is_set():
        count += int(client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"))
        time.sleep(0.02)
    return count


def test_a_full_redis_still_leaves_the_door_ready(door: Door, own_valkey: Valkey) -> None:
    with redis.Redis.from_url(own_valkey.url) as client:
        client.config_set("maxmemory", "1mb")
        ready = door.request("GET", "/readyz")
    assert (ready.status, json.loads(ready.body)["checks"]) == (200, {"intake": "away", "spool": "writable"})


def test_with_both_frozen_everybody_is_asked_to_come_back_in_time(
    door: Door, own_postgres: Postgres, own_valkey: Valkey
) -> None:
    answers = door.post_many(20, at_once=8)
    with frozen(own_valkey, own_postgres):
        first = door.post_many(64, at_once=64)
        later = door.post_many(64, at_once=64)
        ready = door.request("GET", "/readyz")
    assert statuses(first + later) == {503: 128}
    assert are_in_time([*first, *later, ready])
    assert ready.status == 503
    wait_until_all_are_accepted(door)
    answers += door.post_many(20, at_once=8)
    assert statuses(answers) == {200: 40}
    assert delivery_ids(answers) <= kept_ids(own_postgres, own_valkey)


def test_with_both_frozen_256_connections_are_answered_in_time(
    door: Door, own_postgres: Postgres, own_valkey: Valkey
) -> None:
    door.post_many(20, at_once=8)
    with frozen(own_valkey, own_postgres):
        answers = door.post_many(256, at_once=256)
    assert statuses(answers) == {503: 256}
    assert are_in_time(answers)


def test_postgresql_frozen_after_it_was_used_is_given_up_in_time(
    door: Door, own_postgres: Postgres, own_valkey: Valkey
) -> None:
    own_valkey.kill()
    answers = door.post_many(20, at_once=8)
    with frozen(own_postgres):
        refused = door.post_many(64, at_once=64)
    wait_until_all_are_accepted(door)
    answers += door.post_many(20, at_once=8)
    own_valkey.start()
    assert (statuses(refused), statuses(answers)) == ({503: 64}, {200: 40})
    assert are_in_time(refused)
    assert delivery_ids(answers) <= kept_ids(own_postgres, own_valkey)


def test_it_stops_at_once_while_a_store_that_was_used_hangs(
    door: Door, own_postgres: Postgres, own_valkey: Valkey
) -> None:
    own_valkey.kill()
    door.post_many(20, at_once=8)
    with frozen(own_postgres):
        door.post_many(8, at_once=8)
        began = time.monotonic()
        door.process.send_signal(signal.SIGTERM)
        assert door.process.wait(30) == 0
    assert time.monotonic() - began < 10


def test_a_restarted_postgresql_costs_no_delivery(door: Door, own_postgres: Postgres, own_valkey: Valkey) -> None:
    own_valkey.kill()
    answers = door.post_many(20, at_once=8)
    own_postgres.kill()
    own_postgres.start()
    answers += door.post_many(20, at_once=8)
    assert statuses(answers) == {200: 40}
    assert set(in_spool(own_postgres.url)) == delivery_ids(answers)


def test_a_frozen_postgresql_is_not_noticed_while_redis_is_well(
    door: Door, own_postgres: Postgres, own_valkey: Valkey
) -> None:
    own_valkey.kill()
    door.post()
    own_valkey.start()
    wait_until_all_are_accepted(door, own_valkey.url)
    with frozen(own_postgres):
        answers = door.post_many(20, at_once=8)
    assert statuses(answers) == {200: 20}
    assert are_in_time(answers)


def test_a_killed_process_of_the_door_is_replaced(door: Door, own_postgres: Postgres, own_valkey: Valkey) -> None:
    processes = psutil.Process(door.process.pid).children()
    processes[0].kill()
    deadline = time.monotonic() + 20
    while len(alive := psutil.Process(door.process.pid).children()) < len(processes) or processes[0] in alive:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    answers = door.post_many(20, at_once=8)
    assert statuses(answers) == {200: 20}


def test_no_process_of_the_door_outlives_it(door: Door) -> None:
    processes = psutil.Process(door.process.pid).children()
    door.process.kill()
    gone, alive = psutil.wait_procs(processes, timeout=20)
    assert (len(gone), alive) == (2, [])
