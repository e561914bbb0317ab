"""Carries out a slice of a job: changes its next tasks until they are all in work, or others have their turn."""

from __future__ import annotations

import time
from functools import partial

import structlog

from shared.db import jobs
from shared.errors import Fenced, StoreUnavailable
from workers.resources import Resources

SLICE_SECONDS = 10.0
log = structlog.get_logger()


def run_job(resources: Resources, job_id: int) -> None:
    """Change tasks of a running job that nobody else carries out. Never raises: what is left is sent again."""
    try:
        claimed = resources.pool.run(partial(jobs.claim, job_id=job_id))
        if claimed is None:
            return
        until = time.monotonic() + SLICE_SECONDS
        while time.monotonic() < until and not resources.stop.is_set():
            if resources.pool.run(partial(jobs.run_slice, job=claimed)) == 0:
                return
        resources.pool.run(partial(jobs.give_back, job=claimed))
    except Fenced as exc:
        log.info("job_left", job_id=job_id, reason=str(exc))
    except StoreUnavailable as exc:
        log.warning("job_left_to_the_sweeper", job_id=job_id, reason=str(exc))
