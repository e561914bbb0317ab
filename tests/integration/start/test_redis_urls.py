"""Every client of Redis reads REDIS_URL in one way: TLS, Unix sockets, and what is refused."""

from __future__ import annotations

import asyncio
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import redis
from celery import Celery
from kombu.exceptions import OperationalError

from console.checks import CHECKS
from shared.connection.budget import Budget
from shared.errors import ConfigurationError, StoreUnavailable
from shared.intake.client import open_async_intake, open_intake
from shared.queue import RUN_TASK, WORK_QUEUE, QueueDepth, celery_app, send
from shared.redis_clients import refuse_redis_cluster
from shared.settings import Settings
from tests.integration.start.conftest import wait_until
from tests.integration.start.redis_peers import cluster_node, tls_relay, unix_relay

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def use_intake(url: str) -> None:
    with closing(open_intake(Settings(redis_url=url))) as intake:
        intake.stop_bell()


def use_async_intake(url: str) -> None:
    async def check() -> None:
        intake = open_async_intake(Settings(redis_url=url), seconds=5)
        try:
            await intake.check_writable()
        finally:
            await intake._connection.disconnect()

    asyncio.run(check())


def use_budget(url: str) -> None:
    budget = Budget.from_url(url)
    with closing(budget._redis):
        budget.forget("cmp_acme")


def use_queue_depth(url: str) -> None:
    with closing(QueueDepth(url, WORK_QUEUE)) as depth:
        depth.count()


def use_celery_to_send(url: str) -> None:
    with celery_app(Settings(redis_url=url)) as app:
        send(app, RUN_TASK, 1)


def use_celery_to_consume(url: str) -> None:
    with celery_app(Settings(redis_url=url)) as app, app.connection_for_read() as connection:
        try:
            assert connection.default_channel.client.ping()
        except OperationalError as exc:
            raise StoreUnavailable("consuming failed") from exc


def use_doctor(url: str) -> None:
    check = next(check for name, check, _ in CHECKS if name == "redis_server")
    if not next(iter(check(Settings(redis_url=url)))).ok:
        raise StoreUnavailable("doctor says so")


CLIENTS = [
    use_intake,
    use_async_intake,
    use_budget,
    use_queue_depth,
    use_celery_to_send,
    use_celery_to_consume,
    use_doctor,
]
all_clients = pytest.mark.parametrize("use", CLIENTS)


def through(redis_db: str, port: int, options: str = "") -> str:
    parts = urlsplit(redis_db)
    return f"rediss://:{parts.password}@127.0.0.1:{port}{parts.path}{options}"


@all_clients
def test_no_client_talks_to_a_server_whose_certificate_it_cannot_check(
    use: Callable[[str], None], redis_db: str, tmp_path: Path
) -> None:
    with tls_relay(redis_db, tmp_path, name="localhost") as (relay, port, _), pytest.raises(StoreUnavailable):
        use(through(redis_db, port))
    wait_until(lambda: relay.refused > 0, "the relay noticed the refusal")
    assert relay.received == b""


@all_clients
def test_no_client_talks_to_a_server_with_a_certificate_for_another_name(
    use: Callable[[str], None], redis_db: str, tmp_path: Path
) -> None:
    with (
        tls_relay(redis_db, tmp_path, name="elsewhere.example") as (relay, port, certificate),
        pytest.raises(StoreUnavailable),
    ):
        use(through(redis_db, port, f"?ssl_ca_certs={certificate}"))
    wait_until(lambda: relay.refused > 0, "the relay noticed the refusal")
    assert relay.received == b""


@all_clients
def test_every_client_takes_the_file_of_an_authority(use: Callable[[str], None], redis_db: str, tmp_path: Path) -> None:
    with tls_relay(redis_db, tmp_path, name="localhost") as (relay, port, certificate):
        use(through(redis_db, port, f"?ssl_ca_certs={certificate}"))
    assert relay.received


@all_clients
def test_every_client_can_be_told_not_to_check(use: Callable[[str], None], redis_db: str, tmp_path: Path) -> None:
    with tls_relay(redis_db, tmp_path, name="elsewhere.example") as (relay, port, _):
        use(through(redis_db, port, "?ssl_cert_reqs=none"))
    assert relay.received


@all_clients
def test_every_client_reaches_a_unix_socket(use: Callable[[str], None], redis_db: str, tmp_path: Path) -> None:
    parts = urlsplit(redis_db)
    with unix_relay(redis_db, tmp_path / "redis.sock") as relay:
        use(f"unix://:{parts.password}@{tmp_path}/redis.sock?db={parts.path[1:]}")
    assert relay.received


@all_clients
def test_every_client_decodes_the_password(use: Callable[[str], None], redis_db: str, own_password: str) -> None:
    parts = urlsplit(redis_db)
    use(f"redis://{own_password}@127.0.0.1:{parts.port}{parts.path}")


@pytest.fixture
def own_password(redis_db: str) -> Any:
    """A user of the server with every awkward character in its password."""
    with redis.Redis.from_url(redis_db) as client:
        client.execute_command("ACL", "SETUSER", "odd", "on", ">p/w=@:#?%+ é", "~*", "&*", "+@all")
        yield "odd:p%2Fw%3D%40%3A%23%3F%25+%20%C3%A9"
        client.execute_command("ACL", "DELUSER", "odd")


def test_a_redis_cluster_is_refused_and_a_server_that_is_away_is_not() -> None:
    with cluster_node() as url, pytest.raises(ConfigurationError, match=r"REDIS_URL: .*Redis Cluster"):
        refuse_redis_cluster(url)
    refuse_redis_cluster("redis://127.0.0.1:1/0")


def test_other_applications_of_celery_keep_their_own_way(redis_db: str) -> None:
    celery_app(Settings())
    with Celery("other", broker=redis_db) as app, app.connection_for_read() as connection:
        assert connection.default_channel.client.ping()
