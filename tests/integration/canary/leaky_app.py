"""The worker with two bugs: each breaks with a tenant's token in a variable and in the words of its error."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from shared.connection.tokens import current_token
from workers import app as worker
from workers.steps import STEPS, apply_action

if TYPE_CHECKING:
    from workers.attempts.attempt import Attempt
    from workers.resources import Resources

BUGS = 2
seen = itertools.count()


def break_at_first(attempt: Attempt) -> None:
    """Break for the first tasks, and do what is to be done for all others."""
    if next(seen) < BUGS:
        token = current_token(attempt.resources, attempt.task.tenant_id).access_token
        raise RuntimeError(f"a bug with {token}")
    apply_action(attempt)


def break_with_token(resources: Resources, tenant_id: int) -> None:
    """Leave the handling of it to Celery."""
    token = current_token(resources, tenant_id).access_token
    raise ValueError(f"another bug with {token}")


worker.STEPS = {**STEPS, "apply_action": break_at_first}
worker.keep_alive = break_with_token
app = worker.app
