"""What all peers' workers have in common, so that only their ways differ; `worker.js` has the same numbers."""

from __future__ import annotations

#: How many webhooks are worked on at a time, as by our worker with its threads.
SLOTS = 16
#: The first and five more, after 1, 2, 4, 8 and 16 seconds.
TRIES = 6
#: For an answer of Front's.
PATIENCE_SECONDS = 10.0
#: Until another worker gets what a dead one had: longer than the longest backoff, or Celery would run it twice.
FORGOTTEN_SECONDS = 30
