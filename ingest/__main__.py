"""Runs the door: `python -m ingest`."""

from __future__ import annotations

import gc
import os
import resource
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from granian.constants import Interfaces

from shared.db.recording import spool_writer
from shared.errors import ConfigurationError
from shared.process.logs import configure
from shared.process.serving import prepare_forks, server
from shared.redis_clients import refuse_redis_cluster
from shared.settings import Settings, current

TARGET = "ingest.server:open_door"
EXIT_CONFIGURATION = 78

# Of one process; more wait to be accepted. One that sends slowly costs a few kilobytes and no thread.
CONNECTIONS = 4096
BACKLOG = 2048
SPARE_FILES = 256  # for stores, logs, metrics and what Python itself opens
METRICS_PREFIX = "mailroom-metrics-"


def main(target: str = TARGET) -> int:
    """Serve until TERM or INT (0); 78 when the settings are wrong. Another `target` is for measuring the server."""
    try:
        _serve(target)
    except ConfigurationError as exc:
        print(exc, file=sys.stderr)
        return EXIT_CONFIGURATION
    return 0


def _serve(target: str) -> None:
    settings = current("front_signing_keys", "database_url", "redis_url")
    refuse_redis_cluster(settings.redis_url.get_secret_value())
    configure(settings, "door")
    with metrics_folder() as folder:
        os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", folder)  # before shared.process.metrics is imported
        load_before_forking()
        open_private_port(settings)
        server(
            target,
            settings,
            port=settings.port,
            interface=Interfaces.RSGI,
            workers=settings.web_concurrency,
            backlog=BACKLOG,
            backpressure=_connections(),
            factory=True,
        ).serve()


def load_before_forking() -> None:
    """From now on, a forked process has its code, stops when told while it starts, and when its parent is gone.

    Eight that load for themselves need half a minute on a busy machine. psycopg is loaded, too: an import may take
    longer than the first delivery for the spool may wait. Call it when PROMETHEUS_MULTIPROC_DIR is set.
    """
    import ingest.server  # noqa: F401, PLC0415 - imports the metrics

    spool_writer.load()
    prepare_forks()
    gc.freeze()  # no collection of the processes goes through this code: that was a tenth of an answer (measured)


def open_private_port(settings: Settings) -> None:
    """Open METRICS_PORT, on which each forked process answers. Call it when PROMETHEUS_MULTIPROC_DIR is set."""
    from shared.process import private_port  # noqa: PLC0415 - imports the metrics

    private_port.listen(settings)


@contextmanager
def metrics_folder(parent: Path | None = None) -> Iterator[str]:
    """A fresh folder in which the door's processes add up their metrics; it is named after this process.

    Those of doors that were killed go first.
    """
    parent = parent or Path(tempfile.gettempdir())
    for old in parent.glob(f"{METRICS_PREFIX}*"):
        if not _runs(old.name.removeprefix(METRICS_PREFIX).partition("-")[0]):
            shutil.rmtree(old, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{METRICS_PREFIX}{os.getpid()}-", dir=parent) as folder:
        yield folder


def _runs(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError):
        return False
    except OSError:
        return True  # somebody else's
    return True


def _connections() -> int:
    """As many as files may be open, after raising that limit as far as we may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS + SPARE_FILES
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return max(allowed - SPARE_FILES, allowed // 2)


if __name__ == "__main__":
    sys.exit(main())
