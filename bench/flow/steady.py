"""Webhooks at a fixed rate, whatever becomes of them: how long until the row, how long until the change at Front."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.door.percentile import percentile
from bench.flow.costs import Costs
from bench.flow.seen import SeenRows
from bench.flow.stage import LATENCY_MS, order

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.flow.seen import Row
    from bench.flow.stage import Stage

SETTLES_WITHIN = 600.0
#: What came later than this after the last webhook had piled up.
PILED_UP_SECONDS = 1.0
SHARES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}


@dataclass(frozen=True, kw_only=True)
class Way:
    """Of one event, in seconds from when its webhook was sent; `changed_at` by the wall clock, the 80 ms included."""

    to_row: float
    to_action: float
    changed_at: float


def steady(stage: Stage, per_second: int, seconds: float) -> dict[str, Any]:
    """Send for so long, then wait until all is done."""
    began, costs = time.time(), Costs(stage.servers, stage.mailroom)
    with SeenRows(stage.mailroom.database_url) as seen:
        count = _send(stage, per_second, seconds)
        time.sleep(max(0.0, began + seconds - time.time()))
        load = os.getloadavg()[0]
        stage.settle(SETTLES_WITHIN)
        used = costs.each_1000(count)
    sent = _sent(stage, began)
    ways = _ways(stage, sent, seen.rows, began)
    return {
        "events": count,
        **_spread("sent_late", lateness(sorted(sent.values()), per_second)),
        **_spread("rows", [each.to_row for each in ways]),
        **_spread("action", [each.to_action for each in ways]),
        "last_action_after_last_webhook_seconds": round(max(each.changed_at for each in ways) - max(sent.values()), 2),
        "cpu_seconds_per_1000": used,
        "load_average": round(load, 2),
    }


def is_steady(figures: dict[str, Any]) -> bool:
    """Whether nothing had piled up when the last webhook came."""
    return float(figures["last_action_after_last_webhook_seconds"]) <= PILED_UP_SECONDS


def _send(stage: Stage, per_second: int, seconds: float) -> int:
    """Have each company sent its share, one a little after the other; how many in all."""
    share = per_second / len(stage.companies)
    each = max(1, round(share * seconds))
    for company in stage.companies:
        stage.mailroom.front.send("inbound_received", company, **order(company, count=each, rate=share, wait=False))
        time.sleep(1 / per_second)
    return each * len(stage.companies)


def _sent(stage: Stage, since: float) -> dict[str, float]:
    """When the first try of each event left, by its id."""
    tries = sorted(stage.mailroom.front.tries(), key=lambda each: float(each["at"]), reverse=True)
    return {each["event_id"]: float(each["at"]) for each in tries if each["at"] >= since}


def _ways(stage: Stage, sent: dict[str, float], rows: dict[str, Row], since: float) -> list[Way]:
    calls = [call for call in stage.mailroom.front.calls() if call["method"] == "PATCH" and call["at"] >= since]
    changed = {call["conversation"]: float(call["at"]) + LATENCY_MS / 1000 for call in reversed(calls)}
    found = ((at, rows[event]) for event, at in sent.items())
    return [
        Way(to_row=row.at - at, to_action=changed[row.conversation] - at, changed_at=changed[row.conversation])
        for at, row in found
    ]


def lateness(sent: Sequence[float], per_second: int) -> list[float]:
    """How much later than its turn each left: the sender's fault, which must not be small talk."""
    return [max(0.0, at - sent[0] - place / per_second) for place, at in enumerate(sent)]


def _spread(name: str, seconds: Sequence[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {f"{name}_{word}_ms": round(percentile(ordered, share) * 1000, 1) for word, share in SHARES.items()}
