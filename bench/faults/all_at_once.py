"""All faults at once: processes and servers die and hang, and Front fails, under constant mail."""

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

#: The failures of Front meanwhile, for a share of its calls.
FRONT_FAULTS: tuple[dict[str, Any], ...] = (
    {"kind": "429", "rate": 0.05, "seconds": 1},
    {"kind": "500", "rate": 0.02},
    {"kind": "reset_after", "method": "PATCH", "rate": 0.05},
    {"kind": "merged_301", "rate": 0.03},
    {"kind": "cut_body", "path_regex": "^/download/", "rate": 0.1},
)


class RandomFaults:
    """Injects one random fault at a time, while earlier ones may last.

    It must run in the main thread: the kernel ends a server with the thread that forked it.
    """

    def __init__(self, scene: Scene) -> None:
        self.injected: Counter[str] = Counter()
        self._scene = scene
        self._ending: dict[str, tuple[float, Callable[[], object]]] = {}

    def step(self) -> None:
        """End the faults that have lasted long enough, then inject another."""
        self.end(time.monotonic())
        random.choice([self._kill, self._kill, self._kill_child, self._reset, self._stop_server, self._hang_server])()

    def end(self, until: float = float("inf")) -> None:
        """End the faults that are due by then."""
        for name, (due, end) in list(self._ending.items()):
            if due <= until:
                end()
                del self._ending[name]

    def _kill(self) -> None:
        name = random.choice(KILLS)
        if self._scene.platform.kill(name):
            self.injected[f"{name} killed"] += 1

    def _kill_child(self) -> None:
        if self._scene.platform.kill_child("web"):
            self.injected["web child killed"] += 1

    def _reset(self) -> None:
        if "Valkey" in self._ending:
            return
        try:
            with self._scene.servers.redis() as client:
                client.client_kill_filter(_type="normal", skipme=True)
        except redis.RedisError:
            return
        self.injected["redis connections reset"] += 1

    def _stop_server(self) -> None:
        self._inject("killed", lambda server: server.kill(), lambda server: server.start())

    def _hang_server(self) -> None:
        self._inject(
            "hung",
            lambda server: signal_tree(server, signal.SIGSTOP),
            lambda server: signal_tree(server, signal.SIGCONT),
        )

    def _inject(self, how: str, begin: Callable[[Server], object], end: Callable[[Server], object]) -> None:
        server = random.choice([self._scene.servers.valkey, self._scene.servers.postgres])
        if server.name not in self._ending:
            begin(server)
            self._ending[server.name] = (time.monotonic() + random.uniform(*AWAY), lambda: end(server))
            self.injected[f"{server.name} {how}"] += 1


def all_at_once(suite: Suite) -> Result:
    """Inject random faults for five minutes, half a minute in the short size."""
    counts = {"worker": suite.pick(2, 3), "sweeper": 2}
    with suite.scene("all_at_once", companies=5, counts=counts) as scene:
        for fault in FRONT_FAULTS:
            scene.front.fault(**fault)
        faults = RandomFaults(scene)
        until = time.monotonic() + suite.pick(30, 300)
        with scene.mail(per_second=suite.pick(20, 25)):
            while time.monotonic() < until:
                time.sleep(PAUSE)
                faults.step()
            faults.end()
        scene.front.heal()
        scene.injected = faults.injected.total()
        note = ", ".join(f"{count} × {what}" for what, count in sorted(faults.injected.items()))
        return scene.judge(within=SETTLES_WITHIN, note=note, door_dies=True)


RUNS = (
    Run(
        name="all_at_once",
        promise="all faults at random, and a failing Front: nothing is lost, nothing done twice",
        do=all_at_once,
        in_ci=True,
    ),
)
