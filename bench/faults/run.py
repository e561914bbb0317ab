"""What a fault run is, and what it is given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from bench.faults.result import Result
from bench.faults.scene import FRONT, Scene
from bench.harness.mailroom import Mailroom

if TYPE_CHECKING:
    from bench.harness.servers import Servers

T = TypeVar("T")

#: So that what a killed or frozen worker held comes back soon; the full size waits as long as production does.
SHORT_LEASE = {"LEASE_SECONDS": "20"}


@dataclass(frozen=True, kw_only=True)
class Suite:
    """What all runs of one invocation share. `broken`: what did not keep every promise; their logs are kept."""

    servers: Servers
    folder: Path
    full: bool
    broken: list[str] = field(default_factory=list)

    def pick(self, short: T, full: T) -> T:
        """The value for the size that was asked for."""
        return full if self.full else short

    @contextmanager
    def scene(
        self,
        name: str,
        *,
        companies: int = 3,
        counts: dict[str, int] | None = None,
        front: Iterable[str] = (),
        pool: str = "threads",
        **settings: str,
    ) -> Iterator[Scene]:
        """A Mailroom for one run: its tenants `cmp_…`, `counts` of each process, options of the sandbox, settings."""
        folder = self.folder / name
        folder.mkdir(parents=True)
        with self.servers.fresh() as urls:
            settings = settings if self.full else {**SHORT_LEASE, **settings}
            options = (*FRONT, *front)
            mailroom = Mailroom(urls, folder, counts=counts or {}, front=options, settings=settings, pool=pool)
            scene = Scene(name, self.servers, mailroom)
            with scene.running(companies):
                yield scene


@dataclass(frozen=True, kw_only=True)
class Run:
    """One fault: `promise` says in a line what must hold. `do` may give several results, one for each variant.

    `in_ci`: its short size is part of the quality gate.
    """

    name: str
    promise: str
    do: Callable[[Suite], Result | Iterable[Result]]
    in_ci: bool = False
