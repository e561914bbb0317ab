"""Runs the door: `python -m ingest`."""

from __future__ import annotations

import gc
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog
from granian.constants import Interfaces

from shared.db.recording import spool_writer
from shared.errors import ConfigurationError
from shared.process import is_running
from shared.process.logs import configure, log_start
from shared.process.serving import prepare_forks, server
from shared.redis_clients import refuse_redis_cluster
from shared.settings import Settings, current

log = structlog.get_logger()
TARGET = "ingest.server:open_door"
EXIT_CONFIGURATION = 78

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - the folder in it has a name of its own
FOLDER_FIX = "set TMPDIR to a writable folder, or WEB_CONCURRENCY to 1"
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
    log_start("door")
    with metrics_folder() as folder:
        if folder:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder  # before shared.process.metrics is imported
        elif settings.web_concurrency > 1:
            log.warning("metrics_of_one_process", reason="no folder is writable", next=FOLDER_FIX)
        load_before_forking()
        open_private_port(settings)
        server(
            target,
            settings,
            port=settings.port,
            interface=Interfaces.RSGI,
            workers=settings.web_concurrency,
            factory=True,
        ).serve()


def load_before_forking() -> None:
    """From now on, a forked process has its code, and stops when told while it starts.

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

    private_port.listen(settings, shared=True)


@contextmanager
def metrics_folder(parent: Path | None = None) -> Iterator[str | None]:
    """A fresh folder in which the door's processes add up their metrics; it is named after this process.

    Those of doors that were killed go first. None where nothing is writable. Raises ConfigurationError.
    """
    if given := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        _refuse_unwritable(given)
        yield given
    elif parent := parent or _writable_folder():
        with _own_folder(parent) as folder:
            yield folder
    else:
        yield None


def _refuse_unwritable(folder: str) -> None:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return
    except OSError as exc:
        raise ConfigurationError(
            f"PROMETHEUS_MULTIPROC_DIR: cannot write to {folder} ({exc.strerror}); name a writable folder, or unset it"
        ) from None


def _writable_folder() -> Path | None:
    """Return the system's folder for temporary files, or shared memory where the file system is read-only."""
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError:
        return SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK) else None


@contextmanager
def _own_folder(parent: Path) -> Iterator[str]:
    for old in parent.glob(f"{METRICS_PREFIX}*"):
        if not is_running(old.name.removeprefix(METRICS_PREFIX).partition("-")[0]):
            shutil.rmtree(old, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{METRICS_PREFIX}{os.getpid()}-", dir=parent) as folder:
        yield folder


if __name__ == "__main__":
    sys.exit(main())
