"""The step for each kind of task."""

from __future__ import annotations

from collections.abc import Mapping

from workers.attempts.attempt import Step
from workers.steps.apply_action import apply_action
from workers.steps.fetch_message import fetch_message
from workers.steps.store_attachment import store_attachment
from workers.steps.undo_action import undo_action

STEPS: Mapping[str, Step] = {
    "fetch_message": fetch_message,
    "store_attachment": store_attachment,
    "apply_action": apply_action,
    "undo_action": undo_action,
}
