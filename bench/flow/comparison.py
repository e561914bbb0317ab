"""What ours and the peers are put through, each the same way, and Front's verdict after it."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.door.usage import memory_mb
from bench.flow.costs import Costs
from bench.flow.moments import middle_rate, spread
from bench.flow.sending import changed_at, send_steadily, sent_at, share_of
from bench.flow.side import BEHIND_OUR_DOOR
from bench.flow.stage import order

if TYPE_CHECKING:
    from bench.flow.side import Side

SETTLES_WITHIN = 240.0
WARM_UP = (10, 2.0)
#: Shares of the changes: Front is away before anything was done, or the answer is lost after it was.
AWAY, UNANSWERED = 0.05, 0.05
#: Share of the webhooks that come twice.
TWICE = 0.1


@dataclass(frozen=True, kw_only=True)
class Length:
    """How much of each: what waits, how many a second for how long, and how often who is behind the door is killed."""

    backlog: int
    rates: tuple[int, ...]
    seconds: float
    troubled_per_second: int
    troubled_seconds: float
    kills: int


def backlog(side: Side, length: Length) -> dict[str, Any]:
    """Let webhooks pile up behind the door, then start what is behind it."""
    before, count = side.verdict(), length.backlog // len(side.companies)
    for company in side.companies:
        side.front.send("inbound_received", company, **order(company, count=count))
    began = time.time()
    side.start()
    found = _judged(side, before)
    moments = changed_at(side.front, began).values()
    return {
        "webhooks": count * len(side.companies),
        "drain_seconds": round(max(moments, default=began) - began, 1),
        "changes_per_second": round(middle_rate(list(moments)), 1),
        "memory_mb": round(memory_mb(side.platform.pids(*BEHIND_OUR_DOOR)), 1),
        **found,
    }


def steady(side: Side, per_second: int, seconds: float) -> dict[str, Any]:
    """Send at a fixed rate, after a little that is not measured."""
    send_steadily(side.front, side.companies, *WARM_UP)
    side.settle(SETTLES_WITHIN)
    before, began, costs = side.verdict(), time.time(), Costs(side.servers, side.platform)
    jobs = _send(side, per_second, seconds)
    found = _judged(side, before)
    used = costs.each_1000(_count(side, per_second, seconds))
    waits = _waits(side, jobs, began)
    return {
        "webhooks": len(waits),
        **spread("action", waits),
        "cpu_seconds_per_1000": used.pop("ours"),
        "cpu_seconds_per_1000_by_process": used,
        **found,
    }


def troubled(side: Side, length: Length) -> dict[str, Any]:
    """Send while Front misbehaves, webhooks come twice, and those behind the door are killed."""
    side.front.fault("503", method="PATCH", rate=AWAY)
    side.front.fault("reset_after", method="PATCH", rate=UNANSWERED)
    before, began = side.verdict(), time.time()
    with ThreadPoolExecutor(1) as thread:
        killing = thread.submit(_kill, side, length.kills, began, length.troubled_seconds)
        _send(side, length.troubled_per_second, length.troubled_seconds, duplicates=TWICE)
        ended, kills = time.time(), killing.result()
    found = _judged(side, before)
    side.front.heal()
    moments = changed_at(side.front, began).values()
    return {
        "webhooks": _count(side, length.troubled_per_second, length.troubled_seconds),
        "kills": kills,
        "last_change_after_last_webhook_seconds": round(max(moments, default=ended) - ended, 1),
        **found,
    }


def _send(side: Side, per_second: int, seconds: float, **how: Any) -> list[str]:
    """Return when the last webhook is due; the orders."""
    began = time.time()
    jobs = send_steadily(side.front, side.companies, per_second, seconds, **how)
    time.sleep(max(0.0, began + seconds - time.time()))
    return jobs


def _count(side: Side, per_second: int, seconds: float) -> int:
    return len(side.companies) * share_of(side.companies, per_second, seconds)


def _kill(side: Side, times: int, began: float, seconds: float) -> int:
    """Kill all kinds behind the door at once, evenly spread over the time; how many processes were killed."""
    kills = 0
    for number in range(1, times + 1):
        time.sleep(max(0.0, began + seconds * number / (times + 1) - time.time()))
        kills += sum(side.platform.kill(name) is not None for name in side.behind)
    return kills


def _judged(side: Side, before: dict[str, int]) -> dict[str, Any]:
    """Wait until nothing is left to do, then say what was lost or done twice since."""
    load = os.getloadavg()[0]
    settled = side.settle(SETTLES_WITHIN)
    failings = {failing: count - before[failing] for failing, count in side.verdict().items()}
    return {**failings, "settled": settled, "load_average": round(load, 2)}


def _waits(side: Side, jobs: list[str], since: float) -> list[float]:
    """From the first try of each event of these orders to its change, in seconds; without those that never changed."""
    sent, changed = sent_at(side.front, since), changed_at(side.front, since)
    events = [event for job in jobs for event in side.front.events_of(job)]
    return [
        changed[event["conversation_id"]] - sent[event["event_id"]]
        for event in events
        if event["conversation_id"] in changed
    ]
