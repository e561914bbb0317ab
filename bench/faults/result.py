"""The result of one fault run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Result:
    """The figures of one run, and the promises that it broke.

    `load` counts webhooks sent, or tasks in a run without webhooks; `injected` counts faults seen to take place.
    `lost` events were acknowledged and are neither done nor recorded, with no work left; late ones are "not settled".
    `double` and `ghost` effects at Front came more than once, or unasked.
    `wrong_token` counts calls with the token of another tenant, or to another host.
    `drain_seconds` last from the last fault until no work is left, `longest_gap_seconds` between two effects.
    `door_under_2s` is the share of the door's answers; silence counts as late, a closed port does not count.
    """

    name: str
    load: int
    injected: int
    lost: int = 0
    double: int = 0
    ghost: int = 0
    wrong_token: int = 0
    drain_seconds: float | None = None
    longest_gap_seconds: float | None = None
    door_under_2s: float | None = None
    note: str = ""
    broken: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every promise was kept."""
        return not self.broken

    def as_json(self) -> dict[str, Any]:
        """One object of `--json`."""
        return {**asdict(self), "broken": list(self.broken), "passed": self.passed}

    def as_line(self) -> str:
        """One line for people."""
        counts = f"lost {self.lost}  double {self.double}  ghost {self.ghost}  wrong token {self.wrong_token}"
        words = [
            f"{'ok  ' if self.passed else 'FAIL'} {self.name:<22} {self.load:>7,} sent  {self.injected:>4} faults",
            counts,
            _seconds("drained in", self.drain_seconds),
            _seconds("longest gap", self.longest_gap_seconds),
            "" if self.door_under_2s is None else f"door under 2 s {self.door_under_2s:.2%}",
            self.note,
            *(f"BROKEN: {promise}" for promise in self.broken),
        ]
        return "  ".join(word for word in words if word)


def _seconds(what: str, value: float | None) -> str:
    return "" if value is None else f"{what} {value:.1f} s"
