"""A thousand webhooks of three tenants arrive while calls of Front fail in several ways."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.acceptance.judging import events_without_one_row, violation_counts

if TYPE_CHECKING:
    from tests.acceptance.conftest import Start
    from tests.acceptance.stack import Stack

TENANTS = {
    "cmp_amber": ("archive", "archived"),
    "cmp_birch": ("trash", "deleted"),
    "cmp_cedar": ("archive", "archived"),
}
USUAL_OPTIONS = {"duplicates": 0.1, "shuffle": True, "threads": 4}
MIXED, PLAIN, WITH_FILES = 120, 160, 54  # 334 a tenant, 1,002 in all
# After this time all was tried; a task that fails a third time would wait for minutes.
FAULTY_SECONDS = 40.0
FAULTS: tuple[dict[str, Any], ...] = (
    {"kind": "merged_301", "method": "PATCH"},
    {"kind": "429"},
    {"kind": "reset_after", "method": "PATCH"},
    {"kind": "cut_body", "method": "GET"},
)


@pytest.mark.timeout(420)
def test_a_thousand_webhooks_end_as_they_should(start: Start) -> None:
    stack = start("--requests-per-minute", "6000", "--burst-per-second", "0", "--seed", "7")
    for company, (action, _) in TENANTS.items():
        stack.add_tenant(company, company, action=action, people={f"desk@{company}.example": ""})
    for fault in FAULTS:
        stack.front.fault(rate=0.1, **fault)
    began = time.monotonic()
    with ThreadPoolExecutor(len(TENANTS)) as senders:
        list(senders.map(lambda company: send(stack, company), TENANTS))
    sent = time.monotonic()
    time.sleep(FAULTY_SECONDS)
    stack.front.heal()
    stack.settle(within=300)
    print(f"thousand: sent in {sent - began:.1f} s, all done {time.monotonic() - sent:.1f} s later")
    print(f"thousand: faults {stack.front.totals()['faults']}, status {stack.json('status')}")
    assert violation_counts(stack) == (0,) * 5
    assert events_without_one_row(stack) == []
    assert stack.front.totals()["early"] == 0


def send(stack: Stack, company: str) -> None:
    """Send all webhooks of one company."""
    expect = TENANTS[company][1]
    order = {**USUAL_OPTIONS, "expect": expect, "recipients": [{"handle": f"desk@{company}.example", "role": "to"}]}
    stack.front.send("mixed", company, count=MIXED, **order)
    stack.front.send("inbound_received", company, count=PLAIN, **order)
    stack.front.send("inbound_received", company, count=WITH_FILES, attachment_count=2, **order)
