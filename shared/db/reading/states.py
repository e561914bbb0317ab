"""The states as people see them; light enough to be named in a command's help."""

from __future__ import annotations

EVENT_STATES = ("processing", "done", "ignored", "parked", "failed")
TASK_STATES = ("ready", "queued", "running", "parked", "done", "failed", "discarded", "skipped", "superseded")
