"""The definition of a fault run, and how runs are performed one after the other, each on an empty Mailroom."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from bench.faults.result import Result
from bench.faults.scene import FRONT, Scene
from bench.harness.mailroom import Mailroom
from bench.harness.platform import OUR_APP
from bench.harness.servers import Servers

T = TypeVar("T")

#: The tasks of a killed or frozen worker come back soon; the full size waits as long as production.
SHORT_LEASE = {"LEASE_SECONDS": "20"}


@dataclass(frozen=True, kw_only=True)
class Suite:
    """The servers and folder that all runs share; `broken` names the results with broken promises."""

    servers: Servers
    folder: Path
    full: bool
    broken: list[str] = field(default_factory=list)

    def pick(self, short: T, full: T) -> T:
        """Return the value for the requested size."""
        return full if self.full else short

    @contextmanager
    def scene(  # noqa: PLR0913 -- the choices of a run, each named at the call
        self,
        name: str,
        *,
        companies: int = 3,
        counts: dict[str, int] | None = None,
        front: Iterable[str] = (),
        pool: str = "threads",
        app: str = OUR_APP,
        **settings: str,
    ) -> Iterator[Scene]:
        """Run a Mailroom with tenants; `counts` has the number of each process, `front` are options of the sandbox.

        `pool` is Celery's pool, and `app` the module of the Celery application.
        """
        folder = self.folder / name
        folder.mkdir(parents=True)
        with self.servers.fresh() as urls:
            settings = settings if self.full else {**SHORT_LEASE, **settings}
            options = (*FRONT, *front)
            mailroom = Mailroom(urls, folder, counts=counts or {}, front=options, settings=settings, pool=pool, app=app)
            scene = Scene(name, self.servers, mailroom)
            with scene.running(companies):
                yield scene


@dataclass(frozen=True, kw_only=True)
class Run:
    """One fault and the promise that must hold; `do` may return several results, one for each variant.

    With `in_ci` its short size is part of the quality gate. `obstacle` says why it cannot be done on this machine, or
    None when it can.
    """

    name: str
    promise: str
    do: Callable[[Suite], Result | Iterable[Result]]
    in_ci: bool = False
    obstacle: Callable[[], str | None] = lambda: None


PREFIX = "mailroom-faults-"


@contextmanager
def suite(*, full: bool) -> Iterator[Suite]:
    """Run servers in a folder, which stays with every process' output when a promise was broken."""
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    folder.chmod(0o711)  # PostgreSQL runs as another account when we are root
    with Servers(folder) as servers:
        on = Suite(servers=servers, folder=folder, full=full)
        yield on
    if not on.broken:
        shutil.rmtree(folder)


def perform(run: Run, on: Suite) -> Iterator[Result]:
    """Yield the results of one run; a run that fails breaks its promise too."""
    for result in _results(run, on):
        if result.broken:
            on.broken.append(result.name)
        yield result


def _results(run: Run, on: Suite) -> Iterator[Result]:
    try:
        results = run.do(on)
        yield from [results] if isinstance(results, Result) else results
    except Exception as error:  # noqa: BLE001 -- the other runs go on
        yield Result(name=run.name, load=0, injected=0, broken=(f"{type(error).__name__}: {error}",))


def perform_all(runs: Iterable[Run], *, full: bool) -> Iterator[Result]:
    """Yield the results of all runs."""
    with suite(full=full) as on:
        for run in runs:
            yield from perform(run, on)
