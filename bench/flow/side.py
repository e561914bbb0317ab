"""One way of doing the work, ours or a peer's, as what is measured beside it sees it."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.flow.stage import stage
from bench.harness.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from bench.harness.platform import Platform
    from bench.harness.servers import Servers
    from bench.harness.small_front import SmallFront

#: As long as the peers take until they give up a worker that says nothing; usually ours has longer.
LEASE_SECONDS = "30"
BEHIND_OUR_DOOR = ("recorder", "worker", "sweeper")
TENANTS = 10


@dataclass(frozen=True, kw_only=True)
class Side:
    """Its door is open; `start` starts what is behind. `behind`: what is killed there.

    `settle`: whether nothing was left to do within so many seconds. `verdict`: lost, double and so on, of all so far.
    """

    servers: Servers
    platform: Platform
    front: SmallFront
    companies: Sequence[str]
    behind: Sequence[str]
    start: Callable[[], None]
    settle: Callable[[float], bool]
    verdict: Callable[[], dict[str, int]]


@contextmanager
def our_side(servers: Servers, folder: Path) -> Iterator[Side]:
    """Mailroom as the Procfile has it."""
    with stage(servers, folder, "ours", companies=TENANTS, LEASE_SECONDS=LEASE_SECONDS) as on:
        mailroom, platform = on.mailroom, on.mailroom.platform
        problems = platform.stop(*BEHIND_OUR_DOOR)
        assert not problems, problems
        yield Side(
            servers=servers,
            platform=platform,
            front=mailroom.front,
            companies=on.companies,
            behind=("recorder", "worker"),
            start=lambda: platform.procfile({"web": 0}, pool="threads"),
            settle=lambda seconds: wait_until(lambda: not mailroom.unsettled(), seconds, every=0.5),
            verdict=on.verdict,
        )
