"""One fault run on stage: a Mailroom with tenants and mail, the faults, and the verdict at the end."""

from __future__ import annotations

import time
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from bench.faults.result import Result
from bench.harness.mail import Mail, desk
from bench.harness.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence, Set

    from bench.harness.mailroom import Mailroom
    from bench.harness.servers import Servers

#: A fast Front that knows no limit, and that goes on sending through any outage of the door.
FRONT = (
    *("--requests-per-minute", "60000", "--burst-per-second", "0", "--latency-ms", "20"),
    *("--retry-seconds", "1", "--tries", "20"),
)
#: Of the answers. A crowded machine of two cores that also sends does not wake every sender in time.
PROMPT = 0.99
FAILINGS = ("lost", "double", "ghost", "wrong_token")


class Scene:
    """Write a run as: mail comes, faults happen (count each that was seen to take place in `injected`), `judge`."""

    def __init__(self, name: str, servers: Servers, mailroom: Mailroom) -> None:
        self.name = name
        self.servers = servers
        self.injected = 0
        self.mailroom = mailroom
        self.front = mailroom.front
        self.platform = mailroom.platform
        self.companies: list[str] = []
        self.acknowledged: set[str] = set()  # events that the door took from others than the small Front
        self._began = time.time()

    @contextmanager
    def running(self, companies: int) -> Iterator[None]:
        """Start everything, with so many tenants; end it however the run went."""
        with self.mailroom:
            for number in range(companies):
                self.companies.append(f"cmp_{self.name.replace('_', '')}{number}")
                self.mailroom.tenant(self.companies[-1], desk(self.companies[-1]))
            self._began = time.time()
            yield

    def mail(self, per_second: float, **order: Any) -> Mail:
        """Mail to all companies for as long as the context lasts."""
        return Mail(self.front, self.companies, per_second=per_second, **order)

    def judge(
        self,
        *,
        within: float,
        note: str = "",
        broken: Sequence[str] = (),
        at_risk: Set[str] = frozenset(),
        door_dies: bool = False,
    ) -> Result:
        """Wait until nothing is left to do, compare the ledger, the rows and the promises, and stop everything.

        `at_risk`: events that the promise itself excludes; those that were lost are told, and are no failure.
        `door_dies`: the faults end the door itself. A connection then waits for the new one, so late answers are told
        and are no failure.
        """
        ended = time.monotonic()
        settled = wait_until(lambda: not self.mailroom.unsettled(), within, every=0.5)
        drained = time.monotonic() - ended
        problems = [] if settled else [f"not settled within {within:g} s: {self.mailroom.unsettled()}"]
        totals = self.front.totals()
        lost = self._lost()
        counts = self._counted(totals, lost)
        if at_risk:
            note = f"{note} at risk {len(at_risk)}, of them lost {len(lost & at_risk)}".strip()
        problems += _failings({**counts, "lost": len(lost - at_risk)})
        problems += [] if door_dies else _late(totals["door_under_2s"])
        if not totals["acknowledged"]:
            problems.append("nothing was acknowledged: this run showed nothing")
        if not self.injected:
            problems.append("no fault took place: this run showed nothing")
        return Result(
            name=self.name,
            load=totals["sent"],
            injected=self.injected,
            **counts,
            drain_seconds=round(drained, 1),
            longest_gap_seconds=self._longest_gap(),
            door_under_2s=totals["door_under_2s"],
            note=note,
            broken=(*problems, *broken, *self.platform.stop()),
        )

    def ended(self) -> str:
        """Which of our processes ended by themselves: the platform started them again."""
        ended = ", ".join(f"{count} × {name}" for name, count in sorted(self.platform.restarts.items()))
        return f"processes that ended: {ended or 'none'}"

    def _lost(self) -> set[str]:
        """The acknowledged events without a row or without what should follow, and with nothing left to be done."""
        acknowledged = self.front.acknowledged() | self.acknowledged
        unfinished = self.mailroom.unfinished(acknowledged)  # first: what is finished meanwhile is not lost either
        return (self.front.lost() | self.mailroom.unrecorded(acknowledged)) - unfinished

    def _counted(self, totals: dict[str, Any], lost: Set[str]) -> dict[str, int]:
        verdict = self.front.verdict()
        counts = {failing: int(verdict[failing]) for failing in FAILINGS}
        counts["lost"] = len(lost)
        counts["wrong_token"] += int(totals["leaked_token"])
        return counts

    def _longest_gap(self) -> float:
        """The longest time without an effect at Front, from the start of the run to the last one."""
        effects = [call["at"] for call in self.front.calls() if call["method"] in {"PATCH", "POST"} and call["status"]]
        moments = [self._began, *sorted(at for at in effects if at >= self._began)]
        return round(max((b - a for a, b in pairwise(moments)), default=0.0), 1)


def _late(share: float | None) -> list[str]:
    return [] if share is None or share >= PROMPT else [f"only {share:.2%} of the door's answers came within 2 s"]


def _failings(counts: dict[str, int]) -> list[str]:
    return [f"{count} {failing.replace('_', ' ')}" for failing, count in counts.items() if count > 0]
