"""A worker whose waits for endpoints are shorter: `celery -A bench.harness.short_schedule worker …`.

`WAITS_DIVIDED_BY` says how many times. The schedule of attempts, the pauses of an endpoint that fails, the time until
it is held, and the pauses between probes are divided by it. The seconds that an endpoint has to answer are not.
"""

from __future__ import annotations

import os

from workers.notifying import decisions

DIVISOR = float(os.environ["WAITS_DIVIDED_BY"])
setattr(decisions, "SCHEDULE", tuple(seconds / DIVISOR for seconds in decisions.SCHEDULE))  # noqa: B010 -- is Final
for name in ("HELD_AFTER_SECONDS", "LONGEST_PAUSE", "FIRST_PROBE", "LAST_PROBE"):
    setattr(decisions, name, getattr(decisions, name) / DIVISOR)

from workers.app import app  # noqa: E402 -- Celery's `-A` finds it here

__all__ = ["app"]
