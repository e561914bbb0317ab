"""The Celery application: the names of tasks and queues, and sends that never wait long."""

from __future__ import annotations

import re
import threading
from base64 import b64decode
from collections import defaultdict
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated, Any, Literal

import redis
import structlog
from celery import Celery
from kombu.exceptions import OperationalError
from kombu.transport.redis import Channel, Transport
from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import dumps, loads
from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter

from shared.errors import StoreUnavailable
from shared.redis_clients import WRITE_PROBE, redis_client, redis_options, redis_place

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kombu import Connection

    from shared.settings import Settings

RECORD_INTAKE = "mailroom.record_intake"
RUN_TASK = "mailroom.run_task"
KEEP_ALIVE = "mailroom.keep_alive"
EXPIRE = "mailroom.expire"
REPAIR = "mailroom.repair"
RUN_JOB = "mailroom.run_job"
ERASE_ADDRESS = "mailroom.erase_address"
NOTIFY = "mailroom.notify"
RECORD_QUEUE = "record"
WORK_QUEUE = "work"
QUEUES = {
    RECORD_INTAKE: RECORD_QUEUE,
    RUN_TASK: WORK_QUEUE,
    KEEP_ALIVE: WORK_QUEUE,
    EXPIRE: WORK_QUEUE,
    REPAIR: WORK_QUEUE,
    RUN_JOB: WORK_QUEUE,
    ERASE_ADDRESS: WORK_QUEUE,
    NOTIFY: WORK_QUEUE,
}
#: The option of kombu's transport that holds REDIS_URL. The broker's own URL, which kombu logs, has no password.
REDIS_URL_OPTION = "redis_url"
#: Counts the entries of the queues' lists that no worker could take for a task.
DROPPED_KEY = "mailroom:dropped_messages"
#: Redis keeps messages of this priority in a list of their own, which is read when the ordinary list is empty.
LOW_PRIORITY = 9

#: More in a message cost less, and spread less evenly over several workers. A message costs a worker 0.9 ms of CPU and
#: its sender 0.8 (measured at 50 a second).
IDS_IN_A_MESSAGE = 4

WORKER_TIMEOUT_SECONDS = 1.0
DOOR_TIMEOUT_SECONDS = 0.3

#: An idle consumer asks Redis again after this; a message ends its wait at once. A stop may wait for as long.
IDLE_READ_SECONDS = 3

_CONSUMER_OPTIONS = {
    # kombu would record in Redis which messages are taken and done. That takes two more writes for each message, one
    # after the other, and each waits for the disk. A message is only a hint: a killed worker's tasks come back when
    # their leases end.
    "ack_emulation": False,
    "queue_order_strategy": "round_robin",
    "polling_interval": IDLE_READ_SECONDS,
    "socket_connect_timeout": 2.0,
    "socket_timeout": 5.0,
    "socket_keepalive": True,
    "health_check_interval": 10,
    "retry_on_timeout": False,
}
# One try. With the defaults a send waits 6 s for a refused port, and without end for a silent one.
_PUBLISHER_OPTIONS = {
    "max_retries": 0,
    "interval_start": 0,
    "interval_step": 0,
    "interval_max": 0,
    "connect_retries_timeout": 1,
}
# A message goes to its queue by name, so kombu need not declare it. Nobody asks for a result, so Celery need not keep
# track of one. Both would take a third of the time of a send (measured).
_SEND_OPTIONS: dict[str, Any] = {
    "argsrepr": "-",
    "kwargsrepr": "-",
    "declare": (),
    "ignore_result": True,
    "add_to_parent": False,
}

log = structlog.get_logger()


class CeleryApp(Celery):
    """Celery with shorter timeouts for sends than for reads: a worker may wait seconds for a message."""

    send_timeout_seconds = WORKER_TIMEOUT_SECONDS

    def connection_for_write(
        self, url: str | None = None, *args: Any, transport_options: dict[str, Any] | None = None, **options: Any
    ) -> Connection:
        """Return the connection that sends use."""
        seconds = self.send_timeout_seconds
        timeouts = {"socket_connect_timeout": seconds, "socket_timeout": seconds}
        bounded = {**(transport_options or {}), **_PUBLISHER_OPTIONS, **timeouts}
        return super().connection_for_write(url, *args, transport_options=bounded, **options)


class _Batch(threading.local):
    """The messages that a thread sends as one batch, by Redis list; None while it sends each by itself."""

    lists: dict[str, list[str]] | None = None


class _Headers(BaseModel):
    task: Literal[tuple(QUEUES)]  # type: ignore[valid-type]  # each of their names
    id: str
    eta: None = None
    expires: None = None
    shadow: None = None
    compression: None = None
    timelimit: list[None] | None = None


class _Properties(BaseModel):
    delivery_tag: str
    body_encoding: Literal["base64"]
    delivery_info: dict[str, Any] = {}
    priority: int = 0


class _Envelope(BaseModel):
    """A message as Celery puts it into Redis, as far as a worker depends on it; `send` writes no other form."""

    model_config = ConfigDict(strict=True)

    content_type: Literal["application/json"] = Field(alias="content-type")
    content_encoding: Literal["utf-8"] = Field(alias="content-encoding")
    headers: _Headers
    properties: _Properties


_Id = Annotated[int, Field(strict=True, ge=-(2**63), lt=2**63)]  # a bigint
_Ids = Annotated[list[_Id], Field(min_length=2)]
_NoKeywords = Annotated[dict[str, None], Field(max_length=0)]
# Arguments, keyword arguments, and what else Celery would send when the task has ended.
_WITHOUT_ID = TypeAdapter(tuple[tuple[()], _NoKeywords, dict[str, None]])
_WITH_ID = TypeAdapter(tuple[tuple[_Id], _NoKeywords, dict[str, None]])
_CALLS: dict[str, TypeAdapter[Any]] = {
    RECORD_INTAKE: _WITHOUT_ID,
    RUN_TASK: TypeAdapter(tuple[tuple[_Id | _Ids], _NoKeywords, dict[str, None]]),
    KEEP_ALIVE: _WITH_ID,
    EXPIRE: _WITHOUT_ID,
    REPAIR: _WITH_ID,
    RUN_JOB: _WITH_ID,
    ERASE_ADDRESS: _WITH_ID,
    NOTIFY: _WITH_ID,
}


#: A message exactly as `send` writes it, with its body; anything else is read and checked in whole. That takes a fifth
#: of the time of a message (measured).
_UUID = rb'"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"'
_OWN_FORM = re.compile(
    rb'\{"body": "([A-Za-z0-9+/]+={0,2})", "content-encoding": "utf-8", "content-type": "application/json", "headers": '
    rb'\{"lang": "py", "task": "mailroom\.run_task", "id": %b, "shadow": null, "eta": null, "expires": null, '
    rb'"group": null, "group_index": null, "retries": 0, "timelimit": \[null, null\], "root_id": %b, '
    rb'"parent_id": null, "argsrepr": "-", "kwargsrepr": "-", "origin": "[\w.@-]+", "ignore_result": true, '
    rb'"replaced_task_nesting": 0, "stamped_headers": null, "stamps": \{\}\}, "properties": \{"correlation_id": %b, '
    rb'"reply_to": %b, "argsrepr": "-", "kwargsrepr": "-", "delivery_mode": 2, "delivery_info": \{"exchange": "", '
    rb'"routing_key": "work"\}, "priority": \d, "body_encoding": "base64", "delivery_tag": %b\}\}' % ((_UUID,) * 5),
    re.ASCII,
)
_OWN_BODY = re.compile(
    rb"\[\[(?:\d{1,18}|\[\d{1,18}(?:, \d{1,18})*\])\], \{\}, "
    rb'\{"callbacks": null, "errbacks": null, "chain": null, "chord": null\}\]',
    re.ASCII,
)


class BatchingChannel(Channel):
    """A channel of kombu's that keeps its client, and can send several messages in one write.

    kombu makes a client for each command, which takes longer than sending the command (measured). A durable Redis waits
    for the disk with each write. An entry of a list that is no message of ours would end the worker, so the channel
    drops and counts it.
    """

    #: kombu would write the messages of running tasks to a file when it loses Redis; they come back by their leases.
    do_restore = False
    _cached_client: Any = None
    _batch = _Batch()

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        """Return the connection's options, with address, password and TLS as all our clients read them in REDIS_URL.

        kombu reads URLs in its own way, and would send the password to a server whose certificate it did not check.
        """
        connection: Any = self.connection  # kombu has no types
        url: SecretStr | None = connection.client.transport_options.get(REDIS_URL_OPTION)
        options = dict(redis_options(url.get_secret_value())) if url else {}  # none: another application's connection
        self.connection_class = options.pop("connection_class", self.connection_class)
        connparams: dict[str, Any] = super()._connparams(asynchronous)  # type: ignore[misc]
        return connparams | options

    @contextmanager
    def batched(self) -> Iterator[None]:
        """Collect the messages that this thread sends, and send them at the end: in order, one command a list."""
        lists: dict[str, list[str]] = defaultdict(list)
        self._batch.lists = lists
        try:
            yield
        finally:
            self._batch.lists = None
        with self.conn_or_acquire() as client:
            for name, messages in lists.items():
                client.lpush(name, *messages)

    def _put(self, queue: str, message: dict[str, Any], **options: Any) -> None:
        if self._batch.lists is None:
            super()._put(queue, message, **options)
            return
        priority = self._get_message_priority(message, reverse=False)
        name = self._q_for_pri(queue, priority)  # type: ignore[attr-defined]  # kombu has no types
        self._batch.lists[name].append(dumps(message))

    def _create_client(self, asynchronous: bool = False) -> Any:
        """Return the same client for all threads until the channel has a new connection pool, as after an outage."""
        if asynchronous:
            client = super()._create_client(asynchronous=True)  # type: ignore[misc]  # kombu has no types
            client.set_response_callback("BRPOP", self._usable)
            return client
        if self._cached_client is None or self._cached_client.connection_pool is not self.pool:
            self._cached_client = super()._create_client()  # type: ignore[misc]
        return self._cached_client

    def _usable(self, answer: tuple[bytes, bytes] | None, **_: Any) -> tuple[bytes, bytes] | None:
        """Return what Redis gave, or None, as after a timeout, in place of an entry that is no message of ours."""
        if not answer:
            return None
        try:
            self._check(answer[1])
        except Exception as exc:  # noqa: BLE001 -- kombu and Celery raise whatever the entry makes them raise
            log.warning("message_dropped", queue=bytes_to_str(answer[0]), size=len(answer[1]), error=type(exc).__name__)
            with self.conn_or_acquire() as client, suppress(redis.ResponseError):  # a full Redis counts nothing
                client.incr(DROPPED_KEY)
            return None
        return answer

    def _check(self, entry: bytes) -> None:
        """Read an entry as kombu and Celery will. Raises whatever they would, and for a form that `send` never has."""
        if is_in_own_form(entry):
            return
        payload = loads(bytes_to_str(entry))
        envelope = _Envelope.model_validate(payload)
        _CALLS[envelope.headers.task].validate_python(self.Message(payload, channel=self).payload)


def is_in_own_form(entry: bytes) -> bool:
    """Whether an entry is a RUN_TASK exactly as `send` writes it. Any other one may be a message as well."""
    found = _OWN_FORM.fullmatch(entry)
    return found is not None and _OWN_BODY.fullmatch(b64decode(found[1])) is not None


def celery_app(settings: Settings, *, door: bool = False) -> CeleryApp:
    """Return the application for a worker, or for the door, which only sends and has a shorter timeout."""
    Transport.Channel = BatchingChannel
    redis_url = settings.redis_url.get_secret_value() or "redis://"
    app = CeleryApp("mailroom", broker=redis_place(redis_url), set_as_current=not door)
    app.send_timeout_seconds = DOOR_TIMEOUT_SECONDS if door else WORKER_TIMEOUT_SECONDS
    app.conf.update(
        result_backend=None,
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        task_default_queue=WORK_QUEUE,
        # Queue names only: an exchange drops a message when no worker has declared the queue yet.
        task_routes={name: {"queue": queue} for name, queue in QUEUES.items()},
        task_acks_late=True,
        task_reject_on_worker_lost=False,
        task_publish_retry=False,
        task_send_sent_event=False,
        worker_prefetch_multiplier=1,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_pool_limit=settings.worker_threads + 2,  # a send must not wait for another thread's connection
        broker_transport_options={**_CONSUMER_OPTIONS, REDIS_URL_OPTION: SecretStr(redis_url)},
    )
    return app


def send(app: Celery, name: str, *args: Any, low_priority: bool = False) -> None:
    """Send one task, once. Workers take one of `low_priority` after all others.

    Raises StoreUnavailable; the message may have arrived all the same. The arguments stay out of the message's headers,
    because logs and event viewers show those.
    """
    with _redis_errors(name):
        app.send_task(name, args=args, priority=LOW_PRIORITY if low_priority else 0, **_SEND_OPTIONS)


def send_all(app: Celery, name: str, sends: Iterable[tuple[Any, bool]]) -> None:
    """Send a task for each (argument, low_priority) as `send` does, all in one write.

    Raises StoreUnavailable; some or all of the messages may have arrived all the same.
    """
    with _redis_errors(name), app.producer_or_acquire() as producer, producer.channel.batched():
        for argument, low_priority in sends:
            priority = LOW_PRIORITY if low_priority else 0
            app.send_task(name, args=(argument,), priority=priority, producer=producer, **_SEND_OPTIONS)


def send_tasks(app: Celery, tasks: Iterable[tuple[int, bool]]) -> None:
    """Send RUN_TASK for each (task id, low_priority), in one write, with several ids in a message.

    The threads of the worker that takes a message share its tasks. Raises StoreUnavailable, as `send_all` does.
    """
    ids: dict[bool, list[int]] = {False: [], True: []}
    for task_id, low_priority in tasks:
        ids[low_priority].append(task_id)
    messages = [
        (group[0] if len(group) == 1 else group, low_priority)
        for low_priority, each in ids.items()
        for group in (each[begin : begin + IDS_IN_A_MESSAGE] for begin in range(0, len(each), IDS_IN_A_MESSAGE))
    ]
    send_all(app, RUN_TASK, messages)


class QueueDepth:
    """Counts the messages in queues that no worker has taken yet."""

    def __init__(self, redis_url: str, *queues: str):
        self._redis = redis_client(
            redis_url, socket_timeout=WORKER_TIMEOUT_SECONDS, socket_connect_timeout=WORKER_TIMEOUT_SECONDS
        )
        self._lists = [name for queue in queues for name in (queue, f"{queue}{Channel.sep}{LOW_PRIORITY}")]

    def count(self) -> int:
        """Return the number of waiting messages. Raises StoreUnavailable."""
        try:
            with self._redis.pipeline(transaction=False) as pipe:
                for name in self._lists:
                    pipe.llen(name)
                pipe.delete(WRITE_PROBE)  # a replica that is left behind would give the same numbers for ever
                *depths, _ = pipe.execute()
                return sum(depths)
        except (redis.RedisError, OSError) as exc:
            raise StoreUnavailable(f"Redis did not count its messages ({exc}); check REDIS_URL and the server") from exc

    def dropped(self) -> int:
        """Return how many entries of all lists were dropped because they were no messages. Raises StoreUnavailable."""
        try:
            return int(self._redis.get(DROPPED_KEY) or 0)  # type: ignore[arg-type]  # no awaitable of this client
        except (redis.RedisError, OSError) as exc:
            raise StoreUnavailable(f"Redis did not count its messages ({exc}); check REDIS_URL and the server") from exc

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()


@contextmanager
def _redis_errors(name: str) -> Iterator[None]:
    """Turn every error of a send into StoreUnavailable."""
    try:
        yield
    except (OperationalError, redis.RedisError, OSError) as exc:
        raise StoreUnavailable(f"Redis did not take the task {name} ({exc}); check REDIS_URL and the server") from exc
