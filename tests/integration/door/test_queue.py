"""Celery messages are sent to a Redis that works, refuses, stays silent or stops."""

from __future__ import annotations

import base64
import json
import signal
import socket
import time
from typing import TYPE_CHECKING

import pytest
import redis
from kombu.exceptions import EncodeError

from shared.errors import StoreUnavailable
from shared.queue import RECORD_INTAKE, RUN_TASK, CeleryApp, celery_app, is_in_own_form, send, send_all, send_tasks
from shared.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from console.up.embedded import Valkey


@pytest.fixture
def silent_url() -> Iterator[str]:
    """The URL of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"redis://:secret@127.0.0.1:{listener.getsockname()[1]}/0"


def seconds_to_fail(app: CeleryApp) -> float:
    began = time.monotonic()
    with pytest.raises(StoreUnavailable):
        send(app, RECORD_INTAKE)
    return time.monotonic() - began


def test_a_task_waits_in_its_queue_before_any_worker_was_there(redis_db: str) -> None:
    send(celery_app(Settings(redis_url=redis_db)), RUN_TASK, 7)
    with redis.Redis.from_url(redis_db) as client:
        assert client.llen("work") == 1


def test_tasks_that_are_sent_together_are_in_their_lists_in_order(redis_db: str) -> None:
    send_all(celery_app(Settings(redis_url=redis_db)), RUN_TASK, [(1, True), (2, False), (3, True)])
    with redis.Redis.from_url(redis_db) as client:
        waiting = {name: client.lrange(name, 0, -1)[::-1] for name in client.keys("work*")}
    assert {name: [argument(text) for text in texts] for name, texts in waiting.items()} == {
        b"work": [2],
        b"work\x06\x169": [1, 3],
    }


def argument(text: bytes) -> int:
    """Return the only argument of a message."""
    (value,), *_ = json.loads(base64.b64decode(json.loads(text)["body"]))
    return int(value)


def test_several_tasks_are_in_a_message_that_is_read_in_one_look(redis_db: str) -> None:
    sends = [*((number, False) for number in range(1, 7)), (7, True)]
    send_tasks(celery_app(Settings(redis_url=redis_db)), sends)
    with redis.Redis.from_url(redis_db) as client:
        waiting = {name: client.lrange(name, 0, -1)[::-1] for name in client.keys("work*")}
    assert {name: [arguments(text) for text in texts] for name, texts in waiting.items()} == {
        b"work": [[[1, 2, 3, 4]], [[5, 6]]],
        b"work\x06\x169": [[7]],
    }
    assert all(is_in_own_form(text) for texts in waiting.values() for text in texts)


def arguments(text: bytes) -> list[object]:
    found, *_ = json.loads(base64.b64decode(json.loads(text)["body"]))
    return list(found)


def test_nothing_is_sent_of_tasks_that_break_off(redis_db: str) -> None:
    app = celery_app(Settings(redis_url=redis_db))
    with pytest.raises(EncodeError):
        send_all(app, RUN_TASK, [(1, False), (object(), False)])
    send(app, RUN_TASK, 2)
    with redis.Redis.from_url(redis_db) as client:
        assert [argument(text) for text in client.lrange("work", 0, -1)] == [2]


def test_arguments_stay_out_of_the_headers(redis_db: str) -> None:
    send(celery_app(Settings(redis_url=redis_db)), RUN_TASK, 123456789)
    with redis.Redis.from_url(redis_db) as client:
        message = json.loads(client.lindex("work", 0) or "")
    assert "123456789" not in json.dumps(message["headers"])


@pytest.mark.parametrize("door", [True, False])
def test_a_refused_send_fails_at_once(door: bool) -> None:
    app = celery_app(Settings(redis_url="redis://127.0.0.1:1/0"), door=door)
    assert seconds_to_fail(app) < 0.3


@pytest.mark.parametrize(("door", "limit"), [(True, 0.45), (False, 1.3)])
def test_a_send_to_a_silent_socket_fails_in_time(silent_url: str, door: bool, limit: float) -> None:
    app = celery_app(Settings(redis_url=silent_url), door=door)
    assert seconds_to_fail(app) < limit


@pytest.mark.parametrize(("door", "limit"), [(True, 0.45), (False, 1.3)])
def test_a_send_on_an_open_connection_to_a_stopped_server_fails_in_time(
    own_valkey: Valkey, door: bool, limit: float
) -> None:
    app = celery_app(Settings(redis_url=own_valkey.url), door=door)
    send(app, RECORD_INTAKE)
    own_valkey.process.send_signal(signal.SIGSTOP)
    try:
        assert seconds_to_fail(app) < limit
    finally:
        own_valkey.process.send_signal(signal.SIGCONT)


def test_sending_works_again_after_a_restart(own_valkey: Valkey) -> None:
    app = celery_app(Settings(redis_url=own_valkey.url))
    send(app, RECORD_INTAKE)
    own_valkey.kill()
    seconds_to_fail(app)
    own_valkey.start()
    send(app, RECORD_INTAKE)
