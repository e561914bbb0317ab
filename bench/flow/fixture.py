"""A Mailroom with tenants beside a Front that is as slow as the real one."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.harness.mail import desk
from bench.harness.mailroom import Mailroom, expect
from bench.harness.servers import Servers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LATENCY_MS = 80
#: Of a company, as Front has it unless more was bought.
BUDGET = 120
FAILINGS = ("lost", "double", "ghost", "wrong_token")


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What a part of the benchmark is done on."""

    servers: Servers
    mailroom: Mailroom
    companies: Sequence[str]

    def settle(self, seconds: float) -> None:
        """Return when nothing is left to do; fail when that is not so in time."""
        expect(lambda: not self.mailroom.unsettled(), seconds, "all work is done")

    def verdict(self) -> dict[str, int]:
        """What Front's ledger says of all that was done here; everything but zero is a broken promise."""
        told = self.mailroom.front.verdict()
        counts = {failing: int(told[failing]) for failing in FAILINGS}
        unrecorded = self.mailroom.unrecorded(self.mailroom.front.acknowledged())
        return counts | {"lost": counts["lost"] + len(unrecorded)}


@contextmanager
def stage(
    servers: Servers, folder: Path, name: str, *, companies: int, budget: int = 0, **settings: str
) -> Iterator[Stage]:
    """All processes of the Procfile on an empty database, with so many tenants; `budget` 0 is none."""
    own = folder / name
    own.mkdir()
    named = companies_of(name, companies)
    front = slow_front(budget)
    with (
        servers.fresh() as urls,
        Mailroom(urls, own, counts={}, front=front, settings=QUIET | settings) as mailroom,
    ):
        for company in named:
            mailroom.tenant(company, desk(company))
        yield Stage(servers=servers, mailroom=mailroom, companies=named)


def companies_of(name: str, count: int) -> list[str]:
    """So many, with the part's name in theirs."""
    return [f"cmp_{name}{number}" for number in range(count)]


def slow_front(budget: int = 0) -> list[str]:
    """The sandbox's options; `budget` 0 is none."""
    options = ("--latency-ms", LATENCY_MS, "--requests-per-minute", budget or 600_000, "--burst-per-second", 0)
    return [str(each) for each in options]


#: Repairs would ask Front beside what is measured.
QUIET = {"REPAIR_MINUTES": "0"}


def order(company: str, **how: Any) -> dict[str, Any]:
    """Mail to a company's desk that is to be archived."""
    return {"recipients": [{"handle": desk(company), "role": "to"}], "expect": "archived", **how}
