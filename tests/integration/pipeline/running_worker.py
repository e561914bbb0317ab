"""A Celery worker in a process of its own, on the stores of a harness."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bench.harness.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.pipeline.harness import Harness

ROOT = Path(__file__).parents[3]
STARTS_WITHIN = 60.0
QUIET = ("--without-gossip", "--without-mingle", "--without-heartbeat")


@contextmanager
def running_worker(
    harness: Harness, *, app: str = "workers.app", queue: str = "work", slots: int = 16, **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a worker, yield it once it takes tasks, and kill it at the end."""
    before = harness.one("SELECT count(*) FROM processes")
    words = ("-q", "-A", app, "worker", "-Q", queue, "-P", "threads", "--concurrency", str(slots), *QUIET)
    process = subprocess.Popen(
        [sys.executable, "-m", "celery", *words], cwd=ROOT, env={**os.environ, **_settings(harness), **environment}
    )
    try:
        assert wait_until(lambda: harness.one("SELECT count(*) FROM processes") > before, STARTS_WITHIN)
        yield process
    finally:
        process.kill()
        process.wait()


def _settings(harness: Harness) -> dict[str, str]:
    given = harness.settings
    return {
        "DATABASE_URL": given.database_url.get_secret_value(),
        "REDIS_URL": given.redis_url.get_secret_value(),
        "STORAGE_URL": given.storage,
        "FRONT_API_URL": given.front_api_url,
        "TOKEN_KEYS": given.token_keys[0].get_secret_value(),
        "LOG_FORMAT": "json",
    }
