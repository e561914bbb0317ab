"""Mail at a fixed rate, and what the small Front's ledger says of it afterwards."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from bench.flow.stage import LATENCY_MS, order

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.harness.small_front import SmallFront

DONE = 204


def share_of(companies: Sequence[str], per_second: float, seconds: float) -> int:
    """How many each company is sent."""
    return max(1, round(per_second / len(companies) * seconds))


def send_steadily(
    front: SmallFront, companies: Sequence[str], per_second: float, seconds: float, **how: Any
) -> list[str]:
    """Have each company sent its share, one a little after the other, and do not wait; the orders."""
    each, rate = share_of(companies, per_second, seconds), per_second / len(companies)
    jobs = []
    for company in companies:
        report = front.send("inbound_received", company, **order(company, count=each, rate=rate, wait=False, **how))
        jobs.append(str(report["job"]))
        time.sleep(1 / per_second)
    return jobs


def sent_at(front: SmallFront, since: float) -> dict[str, float]:
    """When the first try of each event left, by its id."""
    tries = sorted(front.tries(), key=lambda each: float(each["at"]), reverse=True)
    return {each["event_id"]: float(each["at"]) for each in tries if each["at"] >= since}


def changed_at(front: SmallFront, since: float) -> dict[str, float]:
    """When the first change of each conversation was done, by its id; by the wall clock, the 80 ms included."""
    return first_changes([call for call in front.calls() if call["at"] >= since])


def first_changes(calls: Sequence[dict[str, Any]]) -> dict[str, float]:
    """The same of calls, oldest first."""
    changes = [call for call in calls if has_changed(call)]
    return {call["conversation"]: float(call["at"]) + LATENCY_MS / 1000 for call in reversed(changes)}


def has_changed(call: dict[str, Any]) -> bool:
    """Whether a call was a change that was done, even if its answer was lost."""
    return call["method"] == "PATCH" and bool(call["status"] == DONE or call["fault"] == "reset_after")
