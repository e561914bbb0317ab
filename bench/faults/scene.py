"""The scene of one fault run: a Mailroom with tenants and mail, and the judgement at the end."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from bench.faults.result import Result
from bench.harness.mail import Mail, desk
from bench.harness.processes import wait_until
from bench.harness.small_front import FAILINGS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence, Set

    from bench.harness.mailroom import Mailroom
    from bench.harness.servers import Servers

#: A fast Front without a limit, which retries through any outage of the door.
FRONT = (
    *("--requests-per-minute", "60000", "--burst-per-second", "0", "--latency-ms", "20"),
    *("--retry-seconds", "1", "--tries", "20"),
)
#: Share of the answers. A busy machine of two cores does not wake every sender in time.
PROMPT = 0.99


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Further findings of a run: events that are lost elsewhere, broken promises, and figures in words."""

    lost: Set[str] = frozenset()
    broken: tuple[str, ...] = ()
    note: str = ""


class Scene:
    """Runs a fault: send mail, inject faults (count each that took place in `injected`), then `judge`."""

    def __init__(self, name: str, servers: Servers, mailroom: Mailroom) -> None:
        self.name = name
        self.servers = servers
        self.injected = 0
        self.mailroom = mailroom
        self.front = mailroom.front
        self.platform = mailroom.platform
        self.companies: list[str] = []
        self.acknowledged: set[str] = set()  # events of other senders than the small Front
        self._began = time.time()

    @contextmanager
    def running(self, companies: int) -> Iterator[None]:
        """Start everything, with this many tenants, and end it."""
        with self.mailroom:
            for number in range(companies):
                self.companies.append(f"cmp_{self.name.replace('_', '')}{number}")
                self.mailroom.tenant(self.companies[-1], desk(self.companies[-1]))
            self._began = time.time()
            yield

    def mail(self, per_second: float, **order: Any) -> Mail:
        """Return mail to all companies, a context manager."""
        return Mail(self.front, self.companies, per_second=per_second, **order)

    def judge(  # noqa: PLR0913 -- the choices of a run, each named at the call
        self,
        *,
        within: float,
        note: str = "",
        broken: Sequence[str] = (),
        at_risk: Set[str] = frozenset(),
        door_dies: bool = False,
        look: Callable[[], Findings] = Findings,
    ) -> Result:
        """Wait until no work is left, compare the ledger with the rows and the promises, and stop everything.

        `at_risk` are events that the promise excludes: those lost are reported, and break no promise.
        With `door_dies` the faults kill the door. A connection then waits for the new one, so late answers are
        reported and break no promise. `look` is called when no work is left and everything still runs.
        """
        ended = time.monotonic()
        settled = wait_until(lambda: not self.mailroom.unsettled(), within, every=0.5)
        drained = time.monotonic() - ended
        problems = [] if settled else [f"not settled within {within:g} s: {self.mailroom.unsettled()}"]
        totals = self.front.totals()
        besides = look()
        lost = self._lost() | besides.lost
        counts = self._counted(totals, lost)
        if at_risk:
            note = f"{note} at risk {len(at_risk)}, of them lost {len(lost & at_risk)}".strip()
        problems += _failings({**counts, "lost": len(lost - at_risk)})
        problems += [] if door_dies else _late(totals["door_under_2s"])
        if not totals["acknowledged"]:
            problems.append("nothing was acknowledged: this run proves nothing")
        if not self.injected:
            problems.append("no fault took place: this run proves nothing")
        return Result(
            name=self.name,
            load=totals["sent"],
            injected=self.injected,
            **counts,
            drain_seconds=round(drained, 1),
            longest_gap_seconds=self._longest_gap(),
            door_under_2s=totals["door_under_2s"],
            note="; ".join(filter(None, (note, besides.note))),
            broken=(*problems, *broken, *besides.broken, *self.platform.stop()),
        )

    def ended(self) -> str:
        """Describe which of our processes ended by themselves and were started again."""
        ended = ", ".join(f"{count} × {name}" for name, count in sorted(self.platform.restarts.items()))
        return f"processes that ended: {ended or 'none'}"

    def _lost(self) -> set[str]:
        """Return the acknowledged events without a row or their effect, and with no work left."""
        acknowledged = self.front.acknowledged() | self.acknowledged
        unfinished = self.mailroom.unfinished(acknowledged)  # first: an event that is finished meanwhile is not lost
        return (self.front.lost() | self.mailroom.unrecorded(acknowledged)) - unfinished

    def _counted(self, totals: dict[str, Any], lost: Set[str]) -> dict[str, int]:
        verdict = self.front.verdict()
        counts = {failing: int(verdict[failing]) for failing in FAILINGS}
        counts["lost"] = len(lost)
        counts["wrong_token"] += int(totals["leaked_token"])
        return counts

    def _longest_gap(self) -> float:
        """Return the longest time without an effect at Front, between the start of the run and the last effect."""
        effects = [call["at"] for call in self.front.calls() if call["method"] in {"PATCH", "POST"} and call["status"]]
        moments = [self._began, *sorted(at for at in effects if at >= self._began)]
        return round(max((b - a for a, b in pairwise(moments)), default=0.0), 1)


def _late(share: float | None) -> list[str]:
    return [] if share is None or share >= PROMPT else [f"only {share:.2%} of the door's answers came within 2 s"]


def _failings(counts: dict[str, int]) -> list[str]:
    return [f"{count} {failing.replace('_', ' ')}" for failing, count in counts.items() if count > 0]
