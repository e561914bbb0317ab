"""After a failover behind one name, the old primary stays up and refuses: every client goes to the new one."""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import redis

from bench.harness.processes import wait_until
from console.checks import CHECKS
from console.up.embedded import Valkey
from shared.connection.budget import Budget
from shared.errors import StoreUnavailable
from shared.intake.client import open_async_intake, open_intake
from shared.intake.streams import STREAM
from shared.models import Delivery
from shared.queue import RUN_TASK, WORK_QUEUE, QueueDepth, celery_app, send
from shared.settings import Settings
from tests.integration.door.door_process import delivery_ids, in_intake, in_spool, running_door, statuses
from tests.integration.pipeline.harness import Harness
from tests.integration.pipeline.running_worker import running_worker
from tests.integration.start.redis_peers import Relay, tcp_relay, unfit_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

WITHIN = 10.0  # seconds, on a busy machine
ERRORS = [
    "READONLY You can't write against a read only replica.",
    "LOADING Redis is loading the dataset in memory",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
    "CLUSTERDOWN The cluster is down",
    "NOREPLICAS Not enough good replicas to write.",
    "MISCONF Errors writing to the AOF file: No space left on device",
    "NOAUTH Authentication required.",
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
]


@contextmanager
def intake(url: str) -> Iterator[Callable[[], object]]:
    intake = open_intake(Settings(redis_url=url))
    yield intake.stop_bell
    intake.close()


@contextmanager
def intake_that_is_only_read(url: str) -> Iterator[Callable[[], object]]:
    intake = open_intake(Settings(redis_url=url))
    yield intake.oldest_age_seconds
    intake.close()


@contextmanager
def async_intake(url: str) -> Iterator[Callable[[], object]]:
    intake = open_async_intake(Settings(redis_url=url), seconds=2)
    with asyncio.Runner() as runner:
        yield lambda: runner.run(intake.put([]))
        runner.run(intake._connection.disconnect())


@contextmanager
def budget(url: str) -> Iterator[Callable[[], object]]:
    budget = Budget.from_url(url)
    yield lambda: budget.forget("cmp_acme")
    budget._redis.close()


@contextmanager
def queue_depth(url: str) -> Iterator[Callable[[], object]]:
    depth = QueueDepth(url, WORK_QUEUE)
    yield depth.count
    depth.close()


@contextmanager
def celery(url: str) -> Iterator[Callable[[], object]]:
    with celery_app(Settings(redis_url=url)) as app:
        yield lambda: send(app, RUN_TASK, 1)


CLIENTS = [intake, intake_that_is_only_read, async_intake, budget, queue_depth, celery]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.split()[0])
@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_leaves_a_server_that_says_it_is_the_wrong_one(
    client: Callable[[str], contextmanager[Callable[[], object]]], error: str, redis_db: str
) -> None:
    with unfit_server(error) as unfit, tcp_relay(redis_db) as (relay, url), client(url) as use:
        relay.point_at(unfit)
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                use()
        relay.point_at(redis_db)
        with suppress(StoreUnavailable):  # a connection that is still open may fail once
            use()
        use()


class Pair:
    """Two servers behind one name: a primary and its replica."""

    def __init__(self, first: Valkey, second: Valkey, relay: Relay, url: str) -> None:
        self.first, self.second, self.url = first, second, url
        self._relay = relay
        with redis.Redis.from_url(second.url) as new:
            self.password = urlsplit(first.url).password or ""
            new.config_set("masterauth", self.password)
            new.config_set("requirepass", self.password)
        self.second_url = first.url.replace(str(urlsplit(first.url).port), str(urlsplit(second.url).port))
        self._replicate(self.second_url, first.url)

    def fail_over(self) -> None:
        """Promote the replica, point the name at it, and leave the old primary up as a replica."""
        with redis.Redis.from_url(self.second_url) as new:
            new.execute_command("REPLICAOF", "NO", "ONE")
        self._relay.point_at(self.second_url)
        with redis.Redis.from_url(self.first.url) as old:
            old.config_set("masterauth", self.password)
        self._replicate(self.first.url, self.second_url)

    @staticmethod
    def _replicate(replica_url: str, primary_url: str) -> None:
        with redis.Redis.from_url(replica_url) as replica:
            replica.execute_command("REPLICAOF", "127.0.0.1", str(urlsplit(primary_url).port))
            assert wait_until(lambda: is_in_step(replica), WITHIN)


def is_in_step(replica: redis.Redis) -> bool:
    try:
        return bool(replica.info("replication")["master_link_status"] == "up")
    except redis.ConnectionError:  # it is loading what the primary sent
        return False


@pytest.fixture
def pair(own_valkey: Valkey, tmp_path: Path) -> Iterator[Pair]:
    with Valkey(tmp_path / "second", durable=False) as second, tcp_relay(own_valkey.url) as (relay, url):
        yield Pair(own_valkey, second, relay, url)


def test_the_door_keeps_deliveries_in_the_new_primary(pair: Pair, database: str, tmp_path: Path) -> None:
    with running_door(database, pair.url, tmp_path / "door.log") as door:
        answers = door.post_many(20, at_once=8)
        assert delivery_ids(answers) <= set(in_intake(pair.first.url))
        pair.fail_over()
        until = time.monotonic() + WITHIN
        while not delivery_ids(answers := door.post_many(16, at_once=8)) <= set(in_intake(pair.second_url)):
            assert statuses(answers) == {200: 16}
            assert time.monotonic() < until
            time.sleep(0.1)


def test_a_worker_goes_on_with_the_new_primary(pair: Pair, database: str, tmp_path: Path) -> None:
    harness = Harness(database, pair.url, tmp_path / "files")
    try:
        with running_worker(harness, slots=2) as worker, redis.Redis.from_url(pair.second_url) as new:
            work(harness, new)
            pair.fail_over()
            work(harness, new)
            assert worker.poll() is None
    finally:
        harness.close()


def work(harness: Harness, server: redis.Redis) -> None:
    """Send a task, and wait until a worker took it from its queue."""
    app = celery_app(harness.settings)
    with suppress(StoreUnavailable):  # on the connection that is left from before the failover
        send(app, RUN_TASK, -1)
    send(app, RUN_TASK, -1)
    app.close()
    assert wait_until(lambda: server.llen(WORK_QUEUE) == 0, 40.0)


def test_doctor_says_that_redis_url_leads_to_a_replica(pair: Pair) -> None:
    check = next(check for name, check, _ in CHECKS if name == "redis_server")
    found = [{each.name: each.ok for each in check(Settings(redis_url=url))} for url in (pair.url, pair.second_url)]
    assert [each["redis role"] for each in found] == [True, False]


def put_one(url: str, seconds: float = 2) -> None:
    """Give the intake a delivery that one replica must have."""
    intake = open_async_intake(Settings(redis_url=url, redis_replicas=1), seconds=seconds)

    async def put_and_check() -> None:
        try:
            await intake.put([Delivery(id="a" * 32, received_at=datetime.now(UTC), body=b"{}")])
            await intake.check_writable()
        finally:
            await intake._connection.disconnect()

    asyncio.run(put_and_check())


def test_a_delivery_is_acknowledged_when_the_replica_has_it(pair: Pair) -> None:
    put_one(pair.url)
    with redis.Redis.from_url(pair.second_url) as replica:
        assert replica.xlen(STREAM) == 1  # at once: nobody waited for it since
        replica.execute_command("REPLICAOF", "NO", "ONE")
    with pytest.raises(StoreUnavailable, match="0 of 1 replicas have what was written"):
        put_one(pair.url, seconds=0.4)


def test_the_door_spools_what_no_replica_confirms(pair: Pair, database: str, tmp_path: Path) -> None:
    with redis.Redis.from_url(pair.second_url) as replica:
        replica.execute_command("REPLICAOF", "NO", "ONE")
    with running_door(database, pair.url, tmp_path / "door.log", REDIS_REPLICAS="1") as door:
        assert delivery_ids(door.post_many(4, at_once=2)) == set(in_spool(database))


def test_doctor_says_that_a_replica_is_missing(pair: Pair) -> None:
    check = next(check for name, check, _ in CHECKS if name == "redis_server")

    def replicas(wanted: int) -> list[tuple[bool, str]]:
        found = check(Settings(redis_url=pair.url, redis_replicas=wanted))
        return [(each.ok, each.found) for each in found if each.name == "redis replicas"]

    assert [replicas(wanted) for wanted in (0, 1, 2)] == [[], [(True, "1 of 1")], [(False, "1 of 2")]]
