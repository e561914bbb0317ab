"""A full intake: its memory in Redis, and the rate at which it is recorded."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from bench.harness.platform import ROOT
from bench.harness.processes import wait_until
from bench.harness.usage import cpu_seconds
from bench.harness.webhooks import incompressible_deliveries
from bench.record.database import Case, fill
from bench.record.rounds import Stores
from shared.intake.streams import STREAM
from shared.models import Delivery
from workers.recording.prefetch import CHUNK

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from bench.harness.servers import Servers

BODY_BYTES = 2_400
BATCH = 500
ADDRESSES = 10_000
RECORDED_WITHIN = 300.0
#: Share of the webhooks after which the recorder runs at full speed.
WARM_UP = 0.1


@dataclass(frozen=True, kw_only=True)
class Moment:
    """The webhooks that wait, and the CPU that recorder and PostgreSQL have used."""

    waiting: int
    at: float
    cpu_seconds: float


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """The recording between two moments; `depth` webhooks waited when the recorder started."""

    depth: int
    begun: Moment
    ended: Moment

    @property
    def per_second(self) -> float:
        """Webhooks recorded a second."""
        return self._recorded / (self.ended.at - self.begun.at)

    @property
    def cpu_us_per_event(self) -> float:
        """CPU of an event in recorder and PostgreSQL together, in microseconds."""
        return (self.ended.cpu_seconds - self.begun.cpu_seconds) / self._recorded * 1e6

    @property
    def _recorded(self) -> int:
        return self.begun.waiting - self.ended.waiting


def full_intake(servers: Servers, folder: Path, *, deliveries: int, drained_ones: int) -> dict[str, Any]:
    """Fill the intake with bodies of random bytes, and record webhooks with and without them behind.

    Random bytes are recorded as failures, at another cost. So real webhooks wait in front of them and are recorded
    while all others wait. Then the others are removed, and as many real ones are recorded alone.
    """
    with servers.fresh() as urls, servers.redis() as client:
        fill(urls[0], Case(addresses=ADDRESSES))
        with Stores(servers, urls, folder) as stores:
            _put(stores, incompressible_deliveries(drained_ones, addresses=ADDRESSES, seed=1))
            before, began = _used(client), time.monotonic()
            _put(stores, (_random() for _ in range(deliveries)))
            took, used = time.monotonic() - began, _used(client) - before
            deep = _drained(stores, drained_ones)
            client.unlink(STREAM)
            _put(stores, incompressible_deliveries(drained_ones, addresses=ADDRESSES, seed=2))
            shallow = _drained(stores, drained_ones)
            unrecorded = 2 * drained_ones - stores.events_after(0)
    return {
        "deliveries": deliveries,
        "redis_mb": round(used / 2**20, 1),
        "redis_to_body_bytes_ratio": round(used / (deliveries * BODY_BYTES), 3),
        "filled_per_second": round(deliveries / took, 1),
        **_figures("deep", deep),
        **_figures("shallow", shallow),
        "deep_to_shallow_cpu_ratio": round(deep.cpu_us_per_event / shallow.cpu_us_per_event, 2),
        "load_average": round(os.getloadavg()[0], 2),
        "unrecorded": unrecorded,
    }


def _figures(name: str, stretch: Stretch) -> dict[str, Any]:
    return {
        f"{name}_depth": stretch.depth,
        f"{name}_drained_per_second": round(stretch.per_second, 1),
        f"{name}_cpu_us_per_event": round(stretch.cpu_us_per_event, 1),
    }


def _put(stores: Stores, deliveries: Iterable[Delivery]) -> None:
    """Put all of them into the intake, in batches."""
    rest = iter(deliveries)
    while some := list(islice(rest, BATCH)):
        refused = [why for why in stores.intake.put(some).refusals if why]
        assert not refused, refused[0]


def _random() -> Delivery:
    return Delivery(id=secrets.token_hex(16), received_at=datetime.now(UTC), body=os.urandom(BODY_BYTES))


def _used(client: Any) -> int:
    return int(client.info("memory")["used_memory"])


def _drained(stores: Stores, webhooks: int) -> Stretch:
    """Run the recorder until this many are recorded and gone from the intake, then kill it."""
    depth = stores.intake.depth()
    command = [sys.executable, "-m", "bench.record.drain", str(CHUNK)]
    with subprocess.Popen(
        command, cwd=ROOT, env=stores.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            _start(process)
            begun = _wait_for_depth(stores, depth - round(webhooks * WARM_UP), process.pid)
            return Stretch(depth=depth, begun=begun, ended=_wait_for_depth(stores, depth - webhooks, process.pid))
        finally:
            process.kill()


def _start(process: subprocess.Popen[bytes]) -> None:
    """Wait until it is ready, then start it."""
    assert process.stdin
    assert process.stdout
    assert process.stdout.readline(), "the recorder ended; its output says why"
    process.stdin.write(b"go\n")
    process.stdin.flush()


def _wait_for_depth(stores: Stores, waiting: int, pid: int) -> Moment:
    """Wait until no more than these wait: a delivery leaves the intake after its commit."""
    assert wait_until(lambda: stores.intake.depth() <= waiting, RECORDED_WITHIN, every=0.01), "not recorded in time"
    used = cpu_seconds([pid]) + stores.postgres_cpu_seconds()
    return Moment(waiting=stores.intake.depth(), at=time.monotonic(), cpu_seconds=used)
