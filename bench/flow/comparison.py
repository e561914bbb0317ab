"""The same work by Mailroom and by the peers, each in turn: a backlog, fixed rates, and trouble."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.flow.fixture import changed_at, send_steadily, sent_at, share_of
from bench.flow.systems import PEERS, our_system, peer_system
from bench.harness.benchmark import OURS, report
from bench.harness.mail import order
from bench.harness.mailroom import BEHIND_THE_DOOR
from bench.harness.small_front import FAILINGS
from bench.harness.timing import middle_rate, percentiles_ms
from bench.harness.usage import CpuByKind, memory_mb
from bench.peers.install import NotInstalled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from bench.flow.systems import System
    from bench.harness.servers import Servers

SETTLES_WITHIN = 240.0
WARM_UP = (10, 2.0)
#: Shares of the changes that Front refuses, and that it makes and leaves unanswered.
REFUSED, UNANSWERED = 0.05, 0.05
#: Share of the webhooks that are delivered twice.
TWICE = 0.1
#: Name, trial and figure of each ratio, and which of the peers' figures is the best one.
RATIOS: tuple[tuple[str, str, str, Callable[[Iterable[float]], float]], ...] = (
    ("cpu_at_20_ratio", "steady_20_a_second", "cpu_seconds_per_1000", min),
    ("cpu_at_50_ratio", "steady_50_a_second", "cpu_seconds_per_1000", min),
    ("change_p50_ratio", "steady_50_a_second", "action_p50_ms", min),
    ("change_p99_ratio", "steady_50_a_second", "action_p99_ms", min),
    ("backlog_ratio", "backlog", "changes_per_second", max),
)


@dataclass(frozen=True, kw_only=True)
class Length:
    """The webhooks of each part, its seconds, and the number of kills."""

    backlog: int
    rates: tuple[int, ...]
    seconds: float
    troubled_per_second: int
    troubled_seconds: float
    kills: int


def compare(servers: Servers, folder: Path, length: Length, *, peers: bool) -> dict[str, Any]:
    """Return each trial with the figures of every system; `broken` has the violated guarantees of ours alone."""
    rows: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    left_out: dict[str, str] = {}
    for name, opened in _systems(servers, folder, peers=peers):
        try:
            with opened as system:
                for trial, figures in _trials(system, length):
                    rows[trial][name] = figures
                    report(f"compared, {trial}, {name}: {figures}")
        except NotInstalled as why:
            left_out[name] = str(why)
    return {
        "trials": {trial: {"contestants": systems} for trial, systems in rows.items()},
        "titles": {peer.name: peer.title for peer in PEERS if peer.name in rows["troubled"]},
        "ratios": ratios(rows),
        "left_out": left_out,
        "broken": [problem for trial in rows for problem in violations(trial, rows[trial][OURS])],
    }


def ratios(trials: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> dict[str, float]:
    """Return our figures by the best peer's: CPU and latencies below 1 and the backlog's rate above 1 are better.

    A trial without peers has none.
    """
    return {
        name: _to_best(trials[trial], figure, best) for name, trial, figure, best in RATIOS if _has_peers(trials, trial)
    }


def _has_peers(trials: Mapping[str, Mapping[str, Any]], trial: str) -> bool:
    return OURS in trials.get(trial, {}) and len(trials[trial]) > 1


def _to_best(systems: Mapping[str, Mapping[str, Any]], figure: str, best: Callable[[Iterable[float]], float]) -> float:
    peers = [float(each[figure]) for name, each in systems.items() if name != OURS]
    return round(float(systems[OURS][figure]) / best(peers), 3)


def violations(trial: str, figures: dict[str, Any]) -> list[str]:
    """Return the violated guarantees in words."""
    found = [f"compared, {trial}: {figures[failing]} {failing}" for failing in FAILINGS if figures[failing]]
    return found if figures["settled"] else [*found, f"compared, {trial}: some work was not done in time"]


def _systems(servers: Servers, folder: Path, *, peers: bool) -> Iterator[tuple[str, AbstractContextManager[System]]]:
    yield OURS, our_system(servers, folder)
    for peer in PEERS if peers else ():
        yield peer.name, peer_system(peer, servers, folder)


def _trials(system: System, length: Length) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "backlog", backlog(system, length)
    for rate in length.rates:
        yield f"steady_{rate}_a_second", steady(system, rate, length.seconds)
    yield "troubled", troubled(system, length)


def backlog(system: System, length: Length) -> dict[str, Any]:
    """Send webhooks to the door alone, then start the processes behind it."""
    before, count = system.verdict(), length.backlog // len(system.companies)
    for company in system.companies:
        system.front.send("inbound_received", company, **order(company, count=count))
    began = time.time()
    system.start()
    found = _settled(system, before)
    moments = changed_at(system.front, began).values()
    return {
        "webhooks": count * len(system.companies),
        "drain_seconds": round(max(moments, default=began) - began, 1),
        "changes_per_second": round(middle_rate(list(moments)), 1),
        "memory_mb": round(memory_mb(system.platform.pids(*BEHIND_THE_DOOR)), 1),
        **found,
    }


def steady(system: System, per_second: int, seconds: float) -> dict[str, Any]:
    """Send at a fixed rate, after a warm-up that is not measured."""
    send_steadily(system.front, system.companies, *WARM_UP)
    system.settle(SETTLES_WITHIN)
    before, began, costs = system.verdict(), time.time(), CpuByKind(system.servers, system.platform)
    jobs = _send(system, per_second, seconds)
    found = _settled(system, before)
    used = costs.each_1000(_count(system, per_second, seconds))
    waits = _waits(system, jobs, began)
    return {
        "webhooks": len(waits),
        **percentiles_ms("action", waits),
        "cpu_seconds_per_1000": used.pop("ours"),
        "cpu_seconds_per_1000_by_process": used,
        **found,
    }


def troubled(system: System, length: Length) -> dict[str, Any]:
    """Send while Front fails, webhooks come twice, and the processes behind the door are killed."""
    system.front.fault("503", method="PATCH", rate=REFUSED)
    system.front.fault("reset_after", method="PATCH", rate=UNANSWERED)
    before, began = system.verdict(), time.time()
    with ThreadPoolExecutor(1) as thread:
        killing = thread.submit(_kill, system, length.kills, began, length.troubled_seconds)
        _send(system, length.troubled_per_second, length.troubled_seconds, duplicates=TWICE)
        ended, kills = time.time(), killing.result()
    found = _settled(system, before)
    system.front.heal()
    moments = changed_at(system.front, began).values()
    return {
        "webhooks": _count(system, length.troubled_per_second, length.troubled_seconds),
        "kills": kills,
        "last_change_after_last_webhook_seconds": round(max(moments, default=ended) - ended, 1),
        **found,
    }


def _send(system: System, per_second: int, seconds: float, **how: Any) -> list[str]:
    """Wait until the last webhook is due; return the orders."""
    began = time.time()
    jobs = send_steadily(system.front, system.companies, per_second, seconds, **how)
    time.sleep(max(0.0, began + seconds - time.time()))
    return jobs


def _count(system: System, per_second: int, seconds: float) -> int:
    return len(system.companies) * share_of(system.companies, per_second, seconds)


def _kill(system: System, times: int, began: float, seconds: float) -> int:
    """Kill all kinds behind the door together, evenly spread over the time; return the number of killed processes."""
    kills = 0
    for number in range(1, times + 1):
        time.sleep(max(0.0, began + seconds * number / (times + 1) - time.time()))
        kills += sum(system.platform.kill(name) is not None for name in system.behind)
    return kills


def _settled(system: System, before: dict[str, int]) -> dict[str, Any]:
    """Wait until all work is done; return the failings since `before`."""
    load = os.getloadavg()[0]
    settled = system.settle(SETTLES_WITHIN)
    failings = {failing: count - before[failing] for failing, count in system.verdict().items()}
    return {**failings, "settled": settled, "load_average": round(load, 2)}


def _waits(system: System, jobs: list[str], since: float) -> list[float]:
    """Return the seconds from the first try of each event of these orders to its change, where there was one."""
    sent, changed = sent_at(system.front, since), changed_at(system.front, since)
    events = [event for job in jobs for event in system.front.events_of(job)]
    return [
        changed[event["conversation_id"]] - sent[event["event_id"]]
        for event in events
        if event["conversation_id"] in changed
    ]
