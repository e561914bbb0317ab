"""The counters of the door. Its processes add it up where PROMETHEUS_MULTIPROC_DIR was set before this is imported."""

from __future__ import annotations

from functools import cache

from prometheus_client import Counter, Histogram

from shared.errors import ComeBack, Refused

DELIVERIES = Counter(
    "mailroom_deliveries",
    "Webhooks at the door: `intake` or `spool` (kept), `challenge`, or the code of a refusal",
    ["result"],
)
DOOR_SECONDS = Histogram(
    "mailroom_door_seconds",
    "How long the door took to answer a webhook",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0),
)
SIGNING_KEYS = Counter(
    "mailroom_signing_key_matches",
    "Which of FRONT_SIGNING_KEYS fitted, by position: an old key that no longer grows can go",
    ["position"],
)
BELLS = Counter(
    "mailroom_bells", "Tasks that wake the recorder: `sent`, or `failed` (the sweeper records then)", ["result"]
)
STORES_AWAY = Counter("mailroom_store_away", "How often the door found a store away", ["store"])

REFUSALS = [each.code for each in (*Refused.__subclasses__(), *ComeBack.__subclasses__())]
# Each has a value before it first happens: Prometheus does not see a counter grow that was not there before.
for counter, values in (
    (DELIVERIES, ["intake", "spool", "challenge", *REFUSALS]),
    (BELLS, ["sent", "failed"]),
    (STORES_AWAY, ["intake", "spool"]),
):
    for value in values:
        counter.labels(value)

#: These return one series of a counter without the lock and the checks of `labels`, because each webhook counts there.
deliveries = cache(DELIVERIES.labels)
signing_keys = cache(SIGNING_KEYS.labels)
