"""Webhooks that come through the door while nobody is behind it."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from bench.flow.side import BEHIND_OUR_DOOR
from bench.flow.stage import order

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.flow.stage import Stage

#: So many of a company, then of the next: tenants are mixed, as they are when a recorder was away.
TOGETHER = 100
#: Orders at once, and threads of each: more only wait for one another in the small Front.
ORDERS, THREADS = 2, 2


def fill(stage: Stage, webhooks: int) -> float:
    """Stop what is behind the door and have so many sent to it; how many it took a second."""
    problems = stage.mailroom.platform.stop(*BEHIND_OUR_DOOR)
    assert not problems, problems
    began = time.monotonic()
    with ThreadPoolExecutor(ORDERS) as threads:
        taken = sum(threads.map(lambda share: _sent(stage, *share), _shares(stage, webhooks)))
    took = time.monotonic() - began
    assert taken == webhooks, f"the door took {taken} of {webhooks}"
    return taken / took


def _shares(stage: Stage, webhooks: int) -> Iterator[tuple[str, int]]:
    each = webhooks // len(stage.companies)
    for begin in range(0, each, TOGETHER):
        for company in stage.companies:
            yield company, min(TOGETHER, each - begin)


def _sent(stage: Stage, company: str, count: int) -> int:
    how = order(company, count=count, threads=THREADS)
    return int(stage.mailroom.front.send("inbound_received", company, **how)["acknowledged"])
