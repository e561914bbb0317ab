"""A worker with two bugs. Each raises an error with a tenant's token in a local variable and in its message."""

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
    """Raise an error for the first tasks, and apply the action for all others."""
    if next(seen) < BUGS:
        token = current_token(attempt.resources, attempt.task.tenant_id).access_token
        raise RuntimeError(f"a bug with {token}")
    apply_action(attempt)


def break_with_token(resources: Resources, tenant_id: int) -> None:
    """Raise an error that only Celery handles."""
    token = current_token(resources, tenant_id).access_token
    raise ValueError(f"another bug with {token}")


worker.STEPS = {**STEPS, "apply_action": break_at_first}
worker.keep_alive = break_with_token
app = worker.app
