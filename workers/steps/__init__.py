"""The step for each kind of task.

A new kind needs more than its step here. The check on `tasks.kind` must allow it (`shared/db/schema.sql` and a
migration). Something must create the task: `workers/policy.py` with `workers/recording/write.py`, or a statement of its
own. It runs in the lane of all tasks but files, and waits while Front is away (`shared/db/tasks/dispatching.py`,
`leases.py`).
"""

from __future__ import annotations

from collections.abc import Mapping

from workers.attempts.attempt import Step
from workers.steps.apply_action import apply_action
from workers.steps.fetch_message import fetch_message
from workers.steps.record import record
from workers.steps.store_attachment import store_attachment
from workers.steps.undo_action import undo_action

STEPS: Mapping[str, Step] = {
    "record": record,
    "fetch_message": fetch_message,
    "store_attachment": store_attachment,
    "apply_action": apply_action,
    "undo_action": undo_action,
}
