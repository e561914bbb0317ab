"""Everything at once: processes and servers die and hang, and Front misbehaves, all under mail that does not stop."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import redis

from bench.faults.run import Run
from bench.harness.servers import signal_tree

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.faults.result import Result
    from bench.faults.run import Suite
    from bench.faults.scene import Scene
    from console.up.embedded import Server

SETTLES_WITHIN = 900.0
PAUSE = 1.5
AWAY = (0.5, 4.0)  # seconds that a server is gone or hangs
KILLS = ("worker", "recorder", "sweeper", "web")

#: What Front does meanwhile: a share of the calls is answered so.
FRONT_FAULTS: tuple[dict[str, Any], ...] = (
    {"kind": "429", "rate": 0.05, "seconds": 1},
    {"kind": "500", "rate": 0.02},
    {"kind": "reset_after", "method": "PATCH", "rate": 0.05},
    {"kind": "merged_301", "rate": 0.03},
    {"kind": "cut_body", "path_regex": "^/download/", "rate": 0.1},
)


class Havoc:
    """Hurts one thing at a time, while what was hurt before may still be down. All from one thread: servers are tied
    to the thread that forked them.
    """

    def __init__(self, scene: Scene) -> None:
        self.did: Counter[str] = Counter()
        self._scene = scene
        self._mending: dict[str, tuple[float, Callable[[], object]]] = {}

    def step(self) -> None:
        """Mend what has been down for long enough, then hurt something."""
        self.mend(time.monotonic())
        random.choice([self._kill, self._kill, self._kill_child, self._reset, self._stop_server, self._hang_server])()

    def mend(self, until: float = float("inf")) -> None:
        """Bring back what is down; only what is due by then."""
        for name, (due, mend) in list(self._mending.items()):
            if due <= until:
                mend()
                del self._mending[name]

    def _kill(self) -> None:
        name = random.choice(KILLS)
        if self._scene.platform.kill(name):
            self.did[f"{name} killed"] += 1

    def _kill_child(self) -> None:
        if self._scene.platform.kill_child("web"):
            self.did["web child killed"] += 1

    def _reset(self) -> None:
        if "Valkey" in self._mending:
            return
        try:
            with self._scene.servers.redis() as client:
                client.client_kill_filter(_type="normal", skipme=True)
        except redis.RedisError:
            return
        self.did["redis connections reset"] += 1

    def _stop_server(self) -> None:
        self._hurt("killed", lambda server: server.kill(), lambda server: server.start())

    def _hang_server(self) -> None:
        self._hurt(
            "hung",
            lambda server: signal_tree(server, signal.SIGSTOP),
            lambda server: signal_tree(server, signal.SIGCONT),
        )

    def _hurt(self, how: str, hurt: Callable[[Server], object], mend: Callable[[Server], object]) -> None:
        server = random.choice([self._scene.servers.valkey, self._scene.servers.postgres])
        if server.name not in self._mending:
            hurt(server)
            self._mending[server.name] = (time.monotonic() + random.uniform(*AWAY), lambda: mend(server))
            self.did[f"{server.name} {how}"] += 1


def all_at_once(suite: Suite) -> Result:
    """Five minutes of it; half a minute in short."""
    counts = {"worker": suite.pick(2, 3), "sweeper": 2}
    with suite.scene("all_at_once", companies=5, counts=counts) as scene:
        for fault in FRONT_FAULTS:
            scene.front.fault(**fault)
        havoc = Havoc(scene)
        until = time.monotonic() + suite.pick(30, 300)
        with scene.mail(per_second=suite.pick(20, 25)):
            while time.monotonic() < until:
                time.sleep(PAUSE)
                havoc.step()
            havoc.mend()
        scene.front.heal()
        scene.injected = havoc.did.total()
        note = ", ".join(f"{count} × {what}" for what, count in sorted(havoc.did.items()))
        return scene.judge(within=SETTLES_WITHIN, note=note, door_dies=True)


RUNS = (
    Run(
        name="all_at_once",
        promise="all of it at random, and a Front that misbehaves: nothing lost, nothing twice",
        do=all_at_once,
        in_ci=True,
    ),
)
