"""What a worker works with: chosen once per process."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass

from celery import Celery

from shared.connection.tokens import FrontResources, front_client, token_endpoint
from shared.connection.vault import TokenVault
from shared.db.core.locks import RECORDER, Role
from shared.db.core.pool import open_pool
from shared.intake.client import Intake, open_intake
from shared.queue import WORK_QUEUE, QueueDepth
from shared.settings import Settings
from shared.storage import Storage
from workers.dispatch import Dispatcher
from workers.recording.prefetch import Reader
from workers.recording.recorder import Recorder

NEEDED = ("database_url", "redis_url", "token_keys")


@dataclass(frozen=True, kw_only=True)
class Resources(FrontResources):
    """The real things behind a worker's steps; a set `stop` asks running steps to give their tasks back."""

    name: str
    settings: Settings
    intake: Intake
    dispatcher: Dispatcher
    recorder: Recorder
    storage: Storage

    def close(self) -> None:
        """Close every connection."""
        self.recorder.close()
        self.dispatcher.close()
        self.pool.close()
        self.intake.close()


def open_resources(settings: Settings, app: Celery, *, kind: str) -> Resources:
    """Everything a process of this kind needs; connects when first used."""
    settings.require(*NEEDED)
    database_url = settings.database_url.get_secret_value()
    name = f"{kind}@{socket.gethostname()}:{os.getpid()}"
    # Threads hold a connection for milliseconds and Front for much longer: 8 connections served 32 threads (measured).
    pool = open_pool(settings, size=max(4, settings.worker_threads // 2), application_name=name)
    intake = open_intake(settings)
    waiting = QueueDepth(settings.redis_url.get_secret_value(), WORK_QUEUE)
    dispatcher = Dispatcher(pool, app, waiting)
    role = Role(database_url, RECORDER, name=f"recorder of {name}")
    return Resources(
        name=name,
        settings=settings,
        pool=pool,
        intake=intake,
        dispatcher=dispatcher,
        recorder=Recorder(pool, intake, role, dispatcher.top_up, Reader(pool, intake)),
        front=front_client(settings),
        token_endpoint=token_endpoint(settings),
        storage=Storage(settings.storage),
        vault=TokenVault(settings.token_keys),
    )
