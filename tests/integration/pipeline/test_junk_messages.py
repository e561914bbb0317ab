"""A worker drops and counts entries of its queue in Redis that are no messages, and lives on."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import redis

from bench.harness.processes import wait_until
from shared import queue
from tests.integration.pipeline.running_worker import running_worker

if TYPE_CHECKING:
    import pytest

    from tests.integration.pipeline.harness import Harness

TIMEOUT = 60.0
NORA = "nora@acme.example"


def message(**changes: Any) -> dict[str, Any]:
    """Return a message as Celery writes it, with some parts replaced; a part of None is left out."""
    call = [[1], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]
    whole = {
        "body": base64.b64encode(json.dumps(changes.pop("call", call)).encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"task": queue.RUN_TASK, "id": "an-id", **changes.pop("headers", {})},
        "properties": {
            "delivery_tag": "a-tag",
            "body_encoding": "base64",
            "delivery_info": {"exchange": "", "routing_key": "work"},
            "priority": 0,
            **changes.pop("properties", {}),
        },
        **changes,
    }
    return {name: value for name, value in whole.items() if value is not None}


WRONG_IDS: list[list[Any]] = [[], ["1"], [1, 2], [2**63], [None], [True], [1.5], [{"id": 1}], ["\0"]]
JUNK: list[Any] = [
    b"",
    b"junk",
    b"\xff\xfe\x00",
    b"[" * 100_000,
    b"null",
    b"5",
    b'"words"',
    b"[]",
    b"[1, 2]",
    b"{}",
    b'{"__type__": "datetime", "__value__": 5}',
    b'{"properties": {}}',
    message(body=None),
    message(body=5),
    message(body="not base64 \u2603"),
    message(body=base64.b64encode(b"junk").decode()),
    message(call=5),
    message(call=[]),
    message(call=[1, 2, 3]),
    message(call=[[1], {}, {"chain": [{"task": queue.RUN_TASK}]}]),
    *(message(call=[arguments, {}, {}]) for arguments in WRONG_IDS),
    *(message(call=[arguments, {}, {}], headers={"task": queue.REPAIR}) for arguments in WRONG_IDS),
    *(message(call=[[1], {}, {}], headers={"task": name}) for name in (queue.RECORD_INTAKE, queue.EXPIRE)),
    message(call=[[1], {"more": 1}, {}]),
    {**message(), "headers": None},
    {**message(), "headers": 5},
    {**message(), "headers": {}},
    {**message(), "properties": None},
    {**message(), "properties": {}},
    message(headers={"task": []}),
    message(headers={"task": "os.system"}),
    message(headers={"id": []}),
    message(headers={"id": None}),
    message(headers={"eta": "tomorrow"}),
    message(headers={"eta": "2999-01-01T00:00:00+00:00"}),
    message(headers={"expires": []}),
    message(headers={"timelimit": 5}),
    message(headers={"compression": "junk"}),
    message(properties={"delivery_tag": []}),
    message(properties={"body_encoding": "junk"}),
    message(properties={"delivery_info": 5}),
    message(**{"content-type": "application/x-python-serialize"}),
    message(**{"content-encoding": "binary"}),
]


def test_junk_is_dropped_and_counted_and_the_worker_lives(harness: Harness, capfd: pytest.CaptureFixture[str]) -> None:
    junk = [entry if isinstance(entry, bytes) else json.dumps(entry).encode() for entry in JUNK]
    url = harness.settings.redis_url.get_secret_value()
    tenant = harness.tenant("cmp_acme")
    harness.user(tenant, NORA)
    harness.send("inbound_received", "cmp_acme", recipients=[{"handle": NORA, "role": "to"}], expect="archived")
    harness.record()
    harness.messages.sent.clear()
    depth = queue.QueueDepth(url, queue.WORK_QUEUE)
    with running_worker(harness, slots=1) as worker, redis.Redis.from_url(url) as client:
        for entry in junk:
            client.lpush(queue.WORK_QUEUE, entry)
        client.lpush(f"{queue.WORK_QUEUE}{queue.BatchingChannel.sep}{queue.LOW_PRIORITY}", b"junk of low priority")
        with queue.celery_app(harness.settings) as app:
            queue.send(app, queue.RUN_TASK, harness.one("SELECT id FROM tasks"))
        assert wait_until(lambda: harness.one("SELECT state FROM tasks") == "done", TIMEOUT)
        assert wait_until(lambda: depth.count() == 0, TIMEOUT)
        wait_until(lambda: depth.dropped() > len(junk), TIMEOUT)  # the last one is taken before it is counted
        assert (depth.dropped(), worker.poll()) == (len(junk) + 1, None)
    depth.close()
    said = "".join(capfd.readouterr())
    assert said.count("message_dropped") == len(junk) + 1
    assert "Traceback" not in said
