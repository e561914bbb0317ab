"""A worker whose minute of Front's rate limit is shorter: `celery -A bench.harness.short_minute worker …`.

`MINUTE_SECONDS` says how many seconds it lasts. The small Front must count by the same.
"""

from __future__ import annotations

import os

from shared.connection import budget

budget.WINDOW_SECONDS = int(os.environ["MINUTE_SECONDS"])

from workers.app import app  # noqa: E402 -- Celery's `-A` finds it here

__all__ = ["app"]
