"""What the door's parent loads before it forks its processes."""

from __future__ import annotations

from shared.db.recording import spool_writer
from shared.process.serving import prepare_forks


def prepare_processes() -> None:
    """From now on, a forked process has its code, stops when told while it starts, and when its parent is gone.

    Eight that load for themselves need half a minute on a busy machine. Call it when PROMETHEUS_MULTIPROC_DIR is set.
    """
    import ingest.app  # noqa: PLC0415 - imports the metrics
    import ingest.reception  # noqa: F401, PLC0415 - as above

    spool_writer.load()
    prepare_forks()
