"""Faults of whole hosts and of the network between them, with each process on a host of its own."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, LiteralString

from bench.faults.run import SHORT_LEASE, Run
from bench.faults.scene import FRONT, Scene
from bench.harness.hosts import HostPostgres, MailroomOnHosts, RedisPair, is_primary
from bench.harness.network import Host, Network, obstacle
from bench.harness.processes import expect
from bench.harness.servers import Servers
from shared.db.core.locks import RECORDER, SWEEPER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.faults.result import Result
    from bench.faults.run import Suite

HOSTS = {"web": 2, "recorder": 2, "worker": 3, "sweeper": 2}
SETTLES_WITHIN = 400.0
FAILS_OVER_WITHIN = 60.0
HELD_WITHIN = 30.0
#: The name of the session that has a role: `recorder of recorder@recorder-1:4711-ab`.
HOLDER: LiteralString = """
SELECT application_name FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'advisory' AND granted AND objid = %s AND datname = current_database()
"""


class Hosts:
    """Hosts of a running Mailroom, and what happens to them."""

    def __init__(
        self, scene: Scene, mailroom: MailroomOnHosts, redis: RedisPair, network: Network, store: Host
    ) -> None:
        self.scene, self._mailroom, self._redis, self._network, self._store = scene, mailroom, redis, network, store
        self.problems: list[str] = []
        self.took: dict[str, float] = {}

    def round(self, *, cut_off_seconds: float) -> None:
        """Let everything happen once: hosts vanish, come, are cut off and go, and Redis fails over."""
        self._lose_some()
        self._top_up()
        with self._cut_off(self._with_role("recorder"), self._with_role("sweeper"), self._some("worker")):
            until = time.monotonic() + cut_off_seconds
            self._fail_over()
            time.sleep(max(0.0, until - time.monotonic()))
        self._remove(self._some("worker"))

    def note(self) -> str:
        """Say how long each took at most."""
        return ", ".join(f"{what} in {seconds:.1f} s" for what, seconds in self.took.items())

    def cut_off_postgres(self, seconds: float) -> None:
        """Lose all packets of PostgreSQL's host for so long."""
        self._network.cut_off(self._store)
        self.scene.injected += 1
        time.sleep(seconds)
        self._network.mend(self._store)

    def _lose_some(self) -> None:
        for kind in ("worker", "web"):
            self._mailroom.lose(self._some(kind))
            self.scene.injected += 1

    def _top_up(self) -> None:
        for kind, count in HOSTS.items():
            for _ in range(count - len(self._mailroom.of_kind(kind))):
                self._mailroom.add(kind)

    @contextmanager
    def _cut_off(self, *names: str) -> Iterator[None]:
        for name in names:
            self._mailroom.cut_off(name)
            self.scene.injected += 1
        try:
            yield
        finally:
            for name in names:
                self._mailroom.mend(name)

    def _fail_over(self) -> None:
        """Cut off the primary until the replica is one in its place. The old one is back before the address moves."""
        expect(self._redis.is_in_step, SETTLES_WITHIN, "the replica is in step")
        old = self._redis.primary()
        new = self._redis.other(old)
        with self._timed("failover"):
            self._network.cut_off(old.host)
            expect(lambda: is_primary(new), FAILS_OVER_WITHIN, "the replica is the primary")
        self._network.mend(old.host)
        self.scene.injected += 1

    def _remove(self, name: str) -> None:
        with self._timed("removal"):
            self.problems += self._mailroom.remove(name)
        self.scene.injected += 1

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.took[what] = max(self.took.get(what, 0.0), time.monotonic() - began)

    def _some(self, kind: str) -> str:
        return self._mailroom.of_kind(kind)[0]

    def _with_role(self, kind: str) -> str:
        """Return the host whose process has the role of recorder or sweeper, as the session of its lock is named."""
        found: list[tuple[str]] = []

        def is_held() -> bool:
            found[:] = self._mailroom.rows(HOLDER, {"recorder": RECORDER, "sweeper": SWEEPER}[kind])
            return bool(found)

        expect(is_held, HELD_WITHIN, f"a {kind} is at work")
        return found[0][0].partition("@")[2].partition(":")[0]


@contextmanager
def installation(suite: Suite, name: str) -> Iterator[Hosts]:
    """Run a Mailroom on hosts, with three tenants; we are on the host of the small Front meanwhile."""
    folder = suite.folder / name
    folder.mkdir(parents=True)
    with ExitStack() as stack:
        network = stack.enter_context(Network())
        front, store = network.add("front"), network.add("postgres")
        stack.enter_context(front.entered())
        postgres = HostPostgres(folder / "postgres", store)
        redis = RedisPair(network, folder, store)
        servers = Servers(folder, postgres=postgres, valkey=redis.first)
        stack.enter_context(servers)
        stack.enter_context(redis.second)
        urls = stack.enter_context(servers.fresh())
        stores = {"DATABASE_URL": postgres.network_url(urls[0]), "REDIS_REPLICAS": "1", "INTAKE_STREAMS": "2"}
        settings = stores if suite.full else {**SHORT_LEASE, **stores}
        options = (*FRONT, "--host", front.address)
        mailroom = MailroomOnHosts(network, front, urls, folder, counts=HOSTS, front=options, settings=settings)
        scene = Scene(name, servers, mailroom)
        stack.enter_context(scene.running(3))
        redis.watch(mailroom.platform)
        yield Hosts(scene, mailroom, redis, network, store)


def hosts(suite: Suite) -> Result:
    """Let everything happen to hosts, in one round; in the full size in eight, with PostgreSQL cut off after each."""
    with installation(suite, "hosts") as on:
        with on.scene.mail(per_second=suite.pick(20, 25)):
            for _ in range(suite.pick(1, 8)):
                time.sleep(2)
                on.round(cut_off_seconds=suite.pick(6, 45))
                if suite.full:
                    on.cut_off_postgres(15)
        return on.scene.judge(within=SETTLES_WITHIN, note=on.note(), broken=on.problems, door_dies=True)


RUNS = (
    Run(
        name="hosts",
        promise="hosts added, removed, cut off and lost, and a failover of Redis: nothing is lost, nothing done twice",
        do=hosts,
        in_ci=True,
        obstacle=obstacle,
    ),
)
