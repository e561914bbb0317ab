"""The connections and clients of a recorder, worker or sweeper, opened once per process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from celery import Celery

from shared.connection.tokens import FrontResources, front_client, token_endpoint
from shared.connection.vault import TokenVault
from shared.db.core.locks import RECORDER, Role
from shared.db.core.pool import open_pool
from shared.errors import ConfigurationError
from shared.intake.client import Intake, open_intake
from shared.process.heartbeat import Heartbeat, process_name
from shared.queue import WORK_QUEUE, QueueDepth
from shared.redis_clients import refuse_redis_cluster
from shared.settings import Settings
from shared.storage import Storage
from workers.dispatch import Dispatcher
from workers.notifying.host_steps import HostSteps, load_steps
from workers.notifying.sending import EndpointClient
from workers.process.figures import UnwrittenFigures
from workers.recording.prefetch import DeliveryReader
from workers.recording.recorder import Recorder

#: The exit status for wrong or missing settings.
EXIT_CONFIGURATION = 78
NEEDED_SETTINGS = ("database_url", "redis_url")
#: Recorders and sweepers call nobody and store no file.
NEEDED_FOR_TASKS = (*NEEDED_SETTINGS, "token_keys", "storage_url")


LEAST_CONNECTIONS = 4
#: The connections beside the pool, for the roles that only one process has.
ROLE_CONNECTIONS = {"recorder": 1, "sweeper": 2}


@dataclass(frozen=True, kw_only=True)
class Resources(FrontResources):
    """The connections and clients that steps and jobs use. Once `stop` is set, running steps give their tasks back."""

    name: str
    settings: Settings
    heartbeat: Heartbeat
    intake: Intake
    dispatcher: Dispatcher
    recorder: Recorder
    storage: Storage
    figures: UnwrittenFigures
    endpoint_client: EndpointClient
    host_steps: HostSteps

    def close(self) -> None:
        """Write the figures that are left, and close every connection."""
        self.figures.write()
        self.recorder.close()
        self.dispatcher.close()
        self.pool.close()
        self.intake.close()


class _Missing:
    """Stands for what a process that runs no tasks goes without."""

    def __getattr__(self, name: str) -> Any:
        raise ConfigurationError(f"this process runs no tasks, so it has no tokens and no storage ({name})")


def open_resources(
    settings: Settings, app: Celery, *, kind: str, runs_tasks: bool | None = None, threads: int | None = None
) -> Resources:
    """Make the resources of a process of this kind; each connects when it is first used.

    Only a process that `runs_tasks`, as a worker does, opens TOKEN_KEYS and STORAGE_URL. It has so many `threads` for
    them, else WORKER_THREADS. A worker tells the others its `threads`, if they are given. Raises ConfigurationError.
    """
    slots = threads or 0 if kind == "worker" else 0
    runs_tasks = kind == "worker" if runs_tasks is None else runs_tasks
    settings.require(*(NEEDED_FOR_TASKS if runs_tasks else NEEDED_SETTINGS))
    database_url, redis_url = settings.database_url.get_secret_value(), settings.redis_url.get_secret_value()
    refuse_redis_cluster(redis_url)
    missing: Any = _Missing()
    name = process_name(kind)
    threads = threads or (settings.worker_threads if runs_tasks else 1)
    # A thread needs a connection for milliseconds and Front for longer: 8 connections served 32 threads (measured).
    # Beside it, the heartbeat needs one, and so does the thread that reads ahead for the recorder.
    pool = open_pool(settings, size=max(LEAST_CONNECTIONS, threads // 2), application_name=name)
    intake = open_intake(settings)
    dispatcher = Dispatcher(pool, app, QueueDepth(redis_url, WORK_QUEUE))
    role = Role(database_url, RECORDER, process=name)
    figures = UnwrittenFigures(pool)
    return Resources(
        name=name,
        settings=settings,
        heartbeat=Heartbeat(pool, name, kind, slots, connections=ROLE_CONNECTIONS.get(kind, 0), also=figures.write),
        pool=pool,
        intake=intake,
        dispatcher=dispatcher,
        recorder=Recorder(
            pool,
            intake,
            role,
            dispatcher.send_new,
            DeliveryReader(pool, intake),
            count=figures.note_recorded,
            publish=dispatcher.publish,
        ),
        figures=figures,
        endpoint_client=EndpointClient(networks=settings.endpoint_networks),
        host_steps=load_steps() if runs_tasks else missing,
        front=front_client(settings),
        token_endpoint=token_endpoint(settings),
        storage=Storage(settings.storage) if runs_tasks else missing,
        vault=TokenVault(settings.token_keys) if runs_tasks else missing,
    )
