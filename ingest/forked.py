"""What each process of the door does first, where Granian leaves a gap."""

from __future__ import annotations

import os
import signal
import threading
import time

from shared.db import spool_store

LOOK_EVERY = 1.0  # seconds


def prepare_processes() -> None:
    """From now on, a forked process has its code, stops when told while it starts, and when its parent is gone.

    Eight that load for themselves need half a minute on a busy machine. Call it when PROMETHEUS_MULTIPROC_DIR is set.
    """
    import ingest.app  # noqa: PLC0415 - imports the metrics
    import ingest.reception  # noqa: F401, PLC0415 - as above

    spool_store.load()
    os.register_at_fork(before=_hold_term, after_in_parent=_let_term_come, after_in_child=_begin)


def _begin() -> None:
    # The parent's handler comes along with the fork and swallows a TERM until Granian has set its own. One that came
    # before this line was held and ends the process now.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _let_term_come()
    threading.Thread(target=_stop_as_orphan, args=(os.getppid(),), name="orphan-watch", daemon=True).start()


def _hold_term() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def _let_term_come() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def _stop_as_orphan(parent: int) -> None:
    # After a kill -9 of the parent nobody else would: the port stays taken by a door that no one can stop.
    while os.getppid() == parent:
        time.sleep(LOOK_EVERY)
    os.kill(os.getpid(), signal.SIGTERM)
