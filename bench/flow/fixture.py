"""A Mailroom with tenants and mail, beside a small Front as slow as the real one."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.harness.mail import desk, order
from bench.harness.mailroom import Mailroom
from bench.harness.processes import expect
from bench.harness.small_front import FAILINGS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from bench.harness.servers import Servers
    from bench.harness.small_front import SmallFront

LATENCY_MS = 80
#: Calls a minute and company, as Front allows unless more was bought.
BUDGET = 120
MINUTE = 60.0
TENANTS = 10
#: Repairs would call Front beside the work that is measured.
WITHOUT_REPAIRS = {"REPAIR_MINUTES": "0"}
CHANGED = 204


@dataclass(frozen=True, kw_only=True)
class Fixture:
    """The running processes that a part of the benchmark uses."""

    servers: Servers
    mailroom: Mailroom
    companies: Sequence[str]

    def settle(self, seconds: float) -> None:
        """Wait until no work is left. Raises AssertionError when some is left after that time."""
        expect(lambda: not self.mailroom.unsettled(), seconds, "all work is done")

    def verdict(self) -> dict[str, int]:
        """Count the failings in Front's ledger so far; any but zero violates a guarantee."""
        verdict = self.mailroom.front.verdict()
        counts = {failing: int(verdict[failing]) for failing in FAILINGS}
        unrecorded = self.mailroom.unrecorded(self.mailroom.front.acknowledged())
        return counts | {"lost": counts["lost"] + len(unrecorded)}


@contextmanager
def fixture(  # noqa: PLR0913 -- the choices of a run, each named at the call
    servers: Servers,
    folder: Path,
    name: str,
    *,
    companies: int,
    budget: int = 0,
    minute_seconds: float = MINUTE,
    latency_ms: int = LATENCY_MS,
    **settings: str,
) -> Iterator[Fixture]:
    """Run all processes of the Procfile on an empty database, with this many tenants.

    `budget` is in calls a minute of the small Front, which may last less; 0 is no limit.
    """
    own = folder / name
    own.mkdir()
    named = companies_of(name, companies)
    front = slow_front(budget, minute_seconds, latency_ms)
    with (
        servers.fresh() as urls,
        Mailroom(urls, own, counts={}, front=front, settings=WITHOUT_REPAIRS | settings) as mailroom,
    ):
        for company in named:
            mailroom.tenant(company, desk(company))
        yield Fixture(servers=servers, mailroom=mailroom, companies=named)


def companies_of(name: str, count: int) -> list[str]:
    """Return company ids that contain the name."""
    return [f"cmp_{name}{number}" for number in range(count)]


def slow_front(budget: int = 0, minute_seconds: float = MINUTE, latency_ms: int = LATENCY_MS) -> list[str]:
    """Return options of the sandbox; `budget` 0 is no limit."""
    limits = ("--requests-per-minute", budget or 600_000, "--minute-seconds", minute_seconds, "--burst-per-second", 0)
    return [str(each) for each in ("--latency-ms", latency_ms, *limits)]


def share_of(companies: Sequence[str], per_second: float, seconds: float) -> int:
    """Return how many webhooks each company is sent."""
    return max(1, round(per_second / len(companies) * seconds))


def send_steadily(
    front: SmallFront, companies: Sequence[str], per_second: float, seconds: float, **how: Any
) -> list[str]:
    """Start an order for each company, one a little after the other; return the orders without waiting for them."""
    each, rate = share_of(companies, per_second, seconds), per_second / len(companies)
    jobs = []
    for company in companies:
        report = front.send("inbound_received", company, **order(company, count=each, rate=rate, wait=False, **how))
        jobs.append(str(report["job"]))
        time.sleep(1 / per_second)
    return jobs


def sent_at(front: SmallFront, since: float) -> dict[str, float]:
    """Return when the first try of each event was sent, by the event's id."""
    tries = sorted(front.tries(), key=lambda each: float(each["at"]), reverse=True)
    return {each["event_id"]: float(each["at"]) for each in tries if each["at"] >= since}


def changed_at(front: SmallFront, since: float) -> dict[str, float]:
    """Return when each conversation was first changed, by its id; in wall-clock time, the 80 ms included."""
    return first_changes([call for call in front.calls() if call["at"] >= since])


def first_changes(calls: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return the same from calls in order of time."""
    changes = [call for call in calls if has_changed(call)]
    return {call["conversation"]: float(call["at"]) + LATENCY_MS / 1000 for call in reversed(changes)}


def has_changed(call: dict[str, Any]) -> bool:
    """Tell whether a call changed the conversation, even if its answer was lost."""
    return call["method"] == "PATCH" and bool(call["status"] == CHANGED or call["fault"] == "reset_after")
