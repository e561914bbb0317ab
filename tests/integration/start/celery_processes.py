"""Recorder, worker and sweeper as processes of their own, on the stores of a test."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.fernet import Fernet

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
ENDS_WITHIN = 30.0
QUIET = ("-P", "threads", "--concurrency", "1", "--without-gossip", "--without-mingle", "--without-heartbeat")
COMMANDS = {
    "recorder": ("-m", "celery", "-q", "-A", "workers.app", "worker", "-Q", "record", *QUIET),
    "worker": ("-m", "celery", "-q", "-A", "workers.app", "worker", "-Q", "work", *QUIET),
    "sweeper": ("-m", "workers.sweeping.sweeper"),
}


def settings(database: str, redis_url: str, folder: Path) -> dict[str, str]:
    """Return what every process needs."""
    return {
        "DATABASE_URL": database,
        "REDIS_URL": redis_url,
        "STORAGE_URL": f"file://{folder}/files",
        "TOKEN_KEYS": Fernet.generate_key().decode(),
        "SECRET_KEY": "a-secret-of-this-test",
        "FRONT_SIGNING_KEYS": "signing-key",
        "MAILROOM_DATA": str(folder / "data"),
        "LOG_FORMAT": "json",
    }


@contextmanager
def running(kind: str, environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process of this kind, and end it with TERM at the end of the block."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *COMMANDS[kind]],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=output,
            stderr=output,
        )
    try:
        yield process
        process.terminate()
        process.wait(ENDS_WITHIN)
    finally:
        process.kill()
        process.wait()
