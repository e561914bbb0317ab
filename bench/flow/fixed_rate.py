"""Webhooks at a fixed rate, whatever becomes of them: how long until the row, how long until the change at Front."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.flow.costs import Costs
from bench.flow.moments import spread
from bench.flow.seen import SeenRows
from bench.flow.sending import changed_at, send_steadily, sent_at, share_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.flow.seen import Row
    from bench.flow.stage import Stage

SETTLES_WITHIN = 600.0
#: What came later than this after the last webhook had piled up.
PILED_UP_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class Way:
    """Of one event, in seconds from when its webhook was sent; `changed_at` by the wall clock, the 80 ms included."""

    to_row: float
    to_action: float
    changed_at: float


def steady(stage: Stage, per_second: int, seconds: float) -> dict[str, Any]:
    """Send for so long, then wait until all is done."""
    count = len(stage.companies) * share_of(stage.companies, per_second, seconds)
    began, costs = time.time(), Costs(stage.servers, stage.mailroom.platform)
    with SeenRows(stage.mailroom.database_url) as seen:
        send_steadily(stage.mailroom.front, stage.companies, per_second, seconds)
        time.sleep(max(0.0, began + seconds - time.time()))
        load = os.getloadavg()[0]
        stage.settle(SETTLES_WITHIN)
        used = costs.each_1000(count)
    sent = sent_at(stage.mailroom.front, began)
    ways = _ways(stage, sent, seen.rows, began)
    return {
        "events": count,
        **spread("sent_late", lateness(sorted(sent.values()), per_second)),
        **spread("rows", [each.to_row for each in ways]),
        **spread("action", [each.to_action for each in ways]),
        "last_action_after_last_webhook_seconds": round(max(each.changed_at for each in ways) - max(sent.values()), 2),
        "cpu_seconds_per_1000": used,
        "load_average": round(load, 2),
    }


def is_steady(figures: dict[str, Any]) -> bool:
    """Whether nothing had piled up when the last webhook came."""
    return float(figures["last_action_after_last_webhook_seconds"]) <= PILED_UP_SECONDS


def _ways(stage: Stage, sent: dict[str, float], rows: dict[str, Row], since: float) -> list[Way]:
    changed = changed_at(stage.mailroom.front, since)
    found = ((at, rows[event]) for event, at in sent.items())
    return [
        Way(to_row=row.at - at, to_action=changed[row.conversation] - at, changed_at=changed[row.conversation])
        for at, row in found
    ]


def lateness(sent: Sequence[float], per_second: int) -> list[float]:
    """How much later than its turn each left: the sender's fault, which must not be small talk."""
    return [max(0.0, at - sent[0] - place / per_second) for place, at in enumerate(sent)]
