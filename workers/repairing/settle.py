"""Settles a slice of a repair that did not come to its end: put back, parked or given up."""

from __future__ import annotations

import random

import structlog

from shared.db import repairs, rescue
from shared.db.pool import Connection
from shared.db.repairs import Repair
from shared.errors import FrontRejected, GivesWay, MissingScope
from workers.failing import detail_of, importance
from workers.outage import SCOPE_SECONDS
from workers.resources import Resources
from workers.retries import Decision, GiveBack, Park, Retry, decide

#: Between two slices, the second of which would find the same.
PAUSE_SECONDS = 5.0
#: A permission that is missing is added by a person, who can ask for a repair then.
SCOPE_AGAIN_SECONDS = 86_400.0
log = structlog.get_logger()


def settle(resources: Resources, repair: Repair, error: BaseException, *, came_on: bool, token_version: int) -> None:
    """Do as `workers.retries` decides for all work; `came_on`: this slice compared something. Raises Fenced."""
    if isinstance(error, FrontRejected) and repair.next_page and not came_on:
        resources.pool.run(lambda conn: repairs.forget_page(conn, repair))
        return
    attempt = 1 if came_on else repair.failures + 1
    decision = decide(error, attempt=attempt, jitter=random.random())  # noqa: S311 -- spreads retries
    detail = detail_of(error)
    log.log(importance(error), "repair_broken_off", repair=repair.id, code=decision.code)

    def write(conn: Connection) -> None:
        if isinstance(error, MissingScope):
            _refused(conn, repair, decision, detail)
        elif isinstance(decision, Park):
            repairs.put_back(conn, repair, seconds=PAUSE_SECONDS, code=decision.code, detail=detail)
            version = token_version
            rescue.park(conn, repair.tenant_id, decision.code, token_version=version, probe_seconds=SCOPE_SECONDS)
        else:
            _postpone(conn, repair, decision, error, detail)

    resources.pool.run(write)


def _refused(conn: Connection, repair: Repair, decision: Decision, detail: str) -> None:
    """A permission that only repairs need is no reason to hold the tenant's live work back."""
    repairs.fail(conn, repair, code=decision.code, detail=detail)
    repairs.look_again(conn, repair.tenant_id, seconds=SCOPE_AGAIN_SECONDS)


def _postpone(conn: Connection, repair: Repair, decision: Decision, error: BaseException, detail: str) -> None:
    match decision:
        case Retry():
            repairs.try_again(conn, repair, seconds=decision.delay, code=decision.code, detail=detail)
        case GiveBack():
            seconds = decision.delay if isinstance(error, GivesWay) else max(decision.delay, PAUSE_SECONDS)
            repairs.put_back(conn, repair, seconds=seconds, code=decision.code, detail=detail)
        case _:
            repairs.fail(conn, repair, code=decision.code, detail=detail)
