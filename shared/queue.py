"""The Celery application: task and queue names, and a way to send that never waits long."""

from __future__ import annotations

import threading
from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import redis
from celery import Celery
from kombu.exceptions import OperationalError
from kombu.transport.redis import Channel, Transport
from kombu.utils.json import dumps

from shared.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kombu import Connection

    from shared.settings import Settings

RECORD_INTAKE = "mailroom.record_intake"
RUN_TASK = "mailroom.run_task"
KEEP_ALIVE = "mailroom.keep_alive"
EXPIRE = "mailroom.expire"
REPAIR = "mailroom.repair"
RECORD_QUEUE = "record"
WORK_QUEUE = "work"
QUEUES = {
    RECORD_INTAKE: RECORD_QUEUE,
    RUN_TASK: WORK_QUEUE,
    KEEP_ALIVE: WORK_QUEUE,
    EXPIRE: WORK_QUEUE,
    REPAIR: WORK_QUEUE,
}
#: Redis keeps messages of this priority in a list of their own, which is read when the ordinary one is empty.
LOW_PRIORITY = 9

CONSUME = {
    # kombu would write down in Redis what is taken and what is done: two writes more for each message, one after the
    # other and each waiting for the disk. A message is only a hint; what a killed worker had comes back by its lease.
    "ack_emulation": False,
    "queue_order_strategy": "round_robin",
    "socket_connect_timeout": 2.0,
    "socket_timeout": 5.0,
    "socket_keepalive": True,
    "health_check_interval": 10,
    "retry_on_timeout": False,
}
# One try: without these a send waits 6 s on a refused port and without end on a silent one.
PUBLISH = {"max_retries": 0, "interval_start": 0, "interval_step": 0, "interval_max": 0, "connect_retries_timeout": 1}
# Nothing is declared for a message, which goes to its queue by name, and nothing is kept to ask for a result by: kombu
# and Celery would spend a third of a send on these (measured).
HOW_TO_SEND: dict[str, Any] = {
    "argsrepr": "-",
    "kwargsrepr": "-",
    "declare": (),
    "ignore_result": True,
    "add_to_parent": False,
}
WORKER_ANSWERS_WITHIN = 1.0
DOOR_ANSWERS_WITHIN = 0.3


class CeleryApp(Celery):
    """Celery with other deadlines for sending than for waiting: a worker's read may take seconds, a send may not."""

    answers_within = WORKER_ANSWERS_WITHIN

    def connection_for_write(
        self, url: str | None = None, *args: Any, transport_options: dict[str, Any] | None = None, **options: Any
    ) -> Connection:
        """The connection that sends use."""
        deadlines = {"socket_connect_timeout": self.answers_within, "socket_timeout": self.answers_within}
        bounded = {**(transport_options or {}), **PUBLISH, **deadlines}
        return super().connection_for_write(url, *args, transport_options=bounded, **options)


class _Held(threading.local):
    """What a thread sends together, by list of Redis; None: each by itself."""

    lists: dict[str, list[str]] | None = None


class BatchingChannel(Channel):
    """Keeps its client: kombu makes one for each command, which takes longer than sending it (measured).

    And sends what belongs together at once: each write to a durable Redis waits for the disk.
    """

    #: Messages of running tasks are not put back by a channel that lost Redis: kombu would write them to a file.
    do_restore = False
    _kept: Any = None
    _held = _Held()

    @contextmanager
    def batched(self) -> Iterator[None]:
        """Send what this thread puts inside at the end, in its order and with a command for each list."""
        lists: dict[str, list[str]] = defaultdict(list)
        self._held.lists = lists
        try:
            yield
        finally:
            self._held.lists = None
        with self.conn_or_acquire() as client:
            for name, messages in lists.items():
                client.lpush(name, *messages)

    def _put(self, queue: str, message: dict[str, Any], **options: Any) -> None:
        if self._held.lists is None:
            super()._put(queue, message, **options)
            return
        priority = self._get_message_priority(message, reverse=False)
        name = self._q_for_pri(queue, priority)  # type: ignore[attr-defined]  # kombu has no types
        self._held.lists[name].append(dumps(message))

    def _create_client(self, asynchronous: bool = False) -> Any:
        """A client may be shared by threads; it goes with its pool, which is another one after an outage."""
        if asynchronous:
            return super()._create_client(asynchronous=True)  # type: ignore[misc]  # kombu has no types
        if self._kept is None or self._kept.connection_pool is not self.pool:
            self._kept = super()._create_client()  # type: ignore[misc]
        return self._kept


def celery_app(settings: Settings, *, door: bool = False) -> CeleryApp:
    """The application of a worker, or of the door, which only sends and has less time."""
    Transport.Channel = BatchingChannel
    app = CeleryApp("mailroom", broker=_broker_url(settings.redis_url.get_secret_value()), set_as_current=not door)
    app.answers_within = DOOR_ANSWERS_WITHIN if door else WORKER_ANSWERS_WITHIN
    app.conf.update(
        result_backend=None,
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        task_default_queue=WORK_QUEUE,
        # Queue names only: a message sent to an exchange before a worker declared its queue is thrown away.
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
        broker_transport_options=CONSUME,
    )
    return app


def send(app: Celery, name: str, *args: Any, low_priority: bool = False) -> None:
    """Send one task, once; `low_priority`: after all others. Raises StoreUnavailable.

    Even then the message may have arrived.
    The arguments stay out of the message's headers: logs and event viewers show those.
    """
    with _translated(name):
        app.send_task(name, args=args, priority=LOW_PRIORITY if low_priority else 0, **HOW_TO_SEND)


def send_all(app: Celery, name: str, sends: Iterable[tuple[Any, bool]]) -> None:
    """Send a task for each (argument, low_priority), as `send` would, in one write. Raises StoreUnavailable.

    Even then some or all of the messages may have arrived.
    """
    with _translated(name), app.producer_or_acquire() as producer, producer.channel.batched():
        for argument, low_priority in sends:
            priority = LOW_PRIORITY if low_priority else 0
            app.send_task(name, args=(argument,), priority=priority, producer=producer, **HOW_TO_SEND)


@contextmanager
def _translated(name: str) -> Iterator[None]:
    try:
        yield
    except (OperationalError, redis.RedisError, OSError) as exc:
        raise StoreUnavailable(f"Redis did not take the task {name} ({exc}); check REDIS_URL and the server") from exc


class QueueDepth:
    """Counts the messages in queues that nobody has taken yet."""

    def __init__(self, redis_url: str, *queues: str):
        self._redis = redis.Redis.from_url(
            redis_url, socket_timeout=WORKER_ANSWERS_WITHIN, socket_connect_timeout=WORKER_ANSWERS_WITHIN
        )
        self._lists = [name for queue in queues for name in (queue, f"{queue}{Channel.sep}{LOW_PRIORITY}")]

    def count(self) -> int:
        """How many there are. Raises StoreUnavailable."""
        try:
            with self._redis.pipeline(transaction=False) as pipe:
                for name in self._lists:
                    pipe.llen(name)
                return sum(pipe.execute())
        except (redis.RedisError, OSError) as exc:
            raise StoreUnavailable(f"Redis did not count its messages ({exc}); check REDIS_URL and the server") from exc

    def close(self) -> None:
        """Give up the connections."""
        self._redis.close()


def _broker_url(redis_url: str) -> str:
    """REDIS_URL as kombu spells it, which has other words for a Unix socket than redis-py."""
    if not redis_url.startswith("unix://"):
        return redis_url
    return redis_url.replace("unix://", "redis+socket://", 1).replace("?db=", "?virtual_host=")
