"""How far one machine goes: what is done again and again must not grow with what waits."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.benchmark import Benchmark
from bench.harness.servers import both_servers
from bench.scale.inbox import full_inbox
from bench.scale.tasks import dispatch_round, stranded_look
from bench.scale.users import import_users
from bench.timed import timed

if TYPE_CHECKING:
    from bench.benchmark import Figures

NOTE = (
    "Bodies are random; those that are drained are webhooks with random text, `deep` below all the others and `shallow`"
    " by themselves. Rounds are rolled back, so that all find the same. Memory of the import is the command's own."
)


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much of everything; `tasks` in steps, which show what grows. `drained`: twice so many are."""

    tasks: tuple[int, ...]
    tenants: int
    deliveries: int
    drained: int
    users: int


QUICK = Size(tasks=(20_000, 200_000), tenants=1_000, deliveries=50_000, drained=3_000, users=50_000)
FULL = Size(tasks=(10_000, 100_000, 1_000_000), tenants=1_000, deliveries=1_000_000, drained=20_000, users=1_000_000)


def scale(*, quick: bool) -> Figures:
    """Each part on empty servers."""
    size = QUICK if quick else FULL
    took: dict[str, float] = {}
    with both_servers() as (servers, folder):
        with timed(took, "inbox"):
            inbox = _told("inbox", full_inbox(servers, folder, deliveries=size.deliveries, drained_ones=size.drained))
        with timed(took, "rounds"):
            rounds = [
                _told("round", dispatch_round(servers, tenants=size.tenants, tasks=tasks)) for tasks in size.tasks
            ]
        with timed(took, "looks"):
            looks = [_told("look", stranded_look(servers, tenants=size.tenants, tasks=tasks)) for tasks in size.tasks]
        with timed(took, "import"):
            users = _told("import", import_users(servers, folder, size.users))
    return {
        "redis_to_body_bytes_ratio": inbox["redis_to_body_bytes_ratio"],
        "deep_drained_per_second": inbox["deep_drained_per_second"],
        "shallow_drained_per_second": inbox["shallow_drained_per_second"],
        "deep_to_shallow_cpu_ratio": inbox["deep_to_shallow_cpu_ratio"],
        "dispatch_round_best_ms": rounds[-1]["best_ms"],
        "dispatch_round_median_ms": rounds[-1]["median_ms"],
        "stranded_look_median_ms": looks[-1]["median_ms"],
        "imported_users_per_second": users["users_per_second"],
        "import_memory_mb": users["memory_mb"],
        "inbox": inbox,
        "dispatch_rounds": rounds,
        "stranded_looks": looks,
        "import": users,
        "took_seconds": took,
        "note": NOTE,
        "broken": [f"inbox: {inbox['unrecorded']} webhooks are no rows"] if inbox["unrecorded"] else [],
    }


def _told(what: str, figures: dict[str, Any]) -> dict[str, Any]:
    print(f"{what}: {figures}", file=sys.stderr, flush=True)
    return figures


SCALE = Benchmark(
    name="scale", measures="a full inbox, very many tasks of very many tenants, a long list of users", do=scale
)
