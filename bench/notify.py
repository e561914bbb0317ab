"""Notifications to hosts that answer at once: their rate, latency and CPU, and what they cost Front work."""

from __future__ import annotations

import os
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from bench.faults.host_verdict import ABOUT_MESSAGES, events_taken, out_of_order
from bench.flow.fixed_rate import RowWatcher
from bench.flow.fixture import TENANTS, changed_at, fixture, send_steadily
from bench.harness.benchmark import OURS, Benchmark, report, timed
from bench.harness.host_application import HostApplication
from bench.harness.mail import order
from bench.harness.notifications import notification
from bench.harness.platform import Platform, base_environment
from bench.harness.processes import expect
from bench.harness.servers import both_servers
from bench.harness.timing import middle_rate, percentiles_ms
from bench.harness.usage import CpuByKind
from bench.peers.textbook.notifier import POST, celery
from bench.peers.webhook import SLOTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence, Set
    from pathlib import Path

    from bench.flow.fixture import Fixture
    from bench.harness.benchmark import Figures
    from bench.harness.servers import Servers

NOTE = (
    "Hosts, sender, small Front, servers and all of Mailroom share the cores named in `machine`. A backlog waits before"
    " the one worker starts, with 16 threads for both systems; its rate and CPU are those of the middle 80 %, without"
    " the start of the worker, and CPU includes PostgreSQL and Redis. latency: from the moment another connection sees"
    " the event's row, or before the textbook's message is sent, until the host has answered. The textbook posts a body"
    " that it was given: it records nothing, signs nothing, and keeps no order. front_work: changes a second of one"
    " worker at a Front that takes 80 ms, with two notifications for each change and without any endpoint, in the best"
    " round. It is a backlog, so both kinds of work fill the cores."
)
TEXTBOOK = "textbook"
ENDPOINTS = (1, 4)
#: The middle part, for rates and CPU.
FROM, UNTIL = 0.1, 0.9
WITHIN = 600.0
WARM_UP = (10, 3.0)
ONLY_WORKER = {"web": 0, "recorder": 0, "sweeper": 0}
QUIET = ("--without-gossip", "--without-mingle", "-l", "ERROR")


@dataclass(frozen=True, kw_only=True)
class Size:
    """The notifications of a backlog, the seconds of each rate, and the mails and rounds beside Front work."""

    backlog: int
    rates: tuple[int, ...]
    seconds: float
    front: int
    rounds: int


QUICK = Size(backlog=200, rates=(20,), seconds=8.0, front=200, rounds=1)
FULL = Size(backlog=1_000, rates=(20, 50), seconds=20.0, front=600, rounds=3)


class Sender(Protocol):
    """A system that sends notifications to these hosts."""

    def start_worker(self) -> None:
        """Start the one worker that sends."""

    def stop_worker(self) -> None:
        """Stop it."""

    def add(self, count: int) -> None:
        """Let `count` notifications wait for the worker, spread over all hosts."""

    def send(self, per_second: int, seconds: float) -> dict[str, float]:
        """Have them sent at a fixed rate; return for each event the moment from which its latency counts."""

    def cpu(self) -> CpuByKind:
        """Count CPU from now on."""


def notify(*, quick: bool) -> Figures:
    """Measure both systems with one host and with four, then Front work beside notifications."""
    size = QUICK if quick else FULL
    cases: dict[str, dict[str, Any]] = {}
    took: dict[str, float] = {}
    with both_servers() as (servers, folder):
        for endpoints in ENDPOINTS:
            rates = size.rates if endpoints == 1 else ()
            with timed(took, f"{endpoints}_endpoints"):
                cases[f"{endpoints}_endpoints"] = {"contestants": _contestants(servers, folder, endpoints, size, rates)}
        with timed(took, "front_work"):
            front = _front_work(servers, folder, size)
    first = cases["1_endpoints"]["contestants"]
    return {
        "notifications_per_second": first[OURS]["per_second"],
        "ours_to_textbook_ratio": round(first[OURS]["per_second"] / first[TEXTBOOK]["per_second"], 3),
        "front_work_ratio": front["ratio"],
        "cases": cases,
        "front_work": front,
        "took_seconds": took,
        "note": NOTE,
        "broken": [
            f"{name}: {problem}"
            for name, case in cases.items()
            for contestant, found in case["contestants"].items()
            for problem in found.pop("broken")
            if contestant == OURS
        ],
    }


def _contestants(
    servers: Servers, folder: Path, endpoints: int, size: Size, rates: Sequence[int]
) -> dict[str, dict[str, Any]]:
    found = {}
    for name, system in ((OURS, _our_sender), (TEXTBOOK, _textbook)):
        with system(servers, folder, endpoints) as (sender, hosts):
            found[name] = _measure(sender, hosts, size, rates)
        report(f"{endpoints} endpoints, {name}: {found[name]}")
    return found


def _measure(sender: Sender, hosts: Sequence[HostApplication], size: Size, rates: Sequence[int]) -> dict[str, Any]:
    sender.add(size.backlog)
    sender.start_worker()
    _await(hosts, round(size.backlog * FROM))
    before, cpu = _count(hosts), sender.cpu()
    _await(hosts, round(size.backlog * UNTIL))
    used, load = cpu.each_1000(_count(hosts) - before), os.getloadavg()[0]
    _await(hosts, size.backlog)
    moments = [each.ended for host in hosts for each in host.taken()]
    figures: dict[str, Any] = {
        "notifications": len(moments),
        "per_second": round(middle_rate(moments), 1),
        "cpu_seconds_per_1000": used.pop("ours"),
        "cpu_seconds_per_1000_by_process": used,
        "load_average": round(load, 2),
    }
    asked: dict[str, float] = {}
    for rate in rates:
        sent = sender.send(rate, size.seconds)
        _await_events(hosts[0], sent.keys(), f"all of {rate} a second are taken")
        figures[f"at_{rate}"] = percentiles_ms("latency", _latencies(hosts[0], sent))
        asked |= sent
    sender.stop_worker()
    return {**figures, "broken": _broken(hosts, size.backlog + len(asked))}


def _latencies(host: HostApplication, since: dict[str, float]) -> list[float]:
    return [each.ended - since[each.event] for each in host.taken() if each.event in since]


def _broken(hosts: Sequence[HostApplication], count: int) -> list[str]:
    taken = [each for host in hosts for each in host.taken()]
    wrong = sum(out_of_order(host.requests()) for host in hosts)
    unsigned = sum(not each.verified for each in taken)
    names = {(each.id, host.name) for host in hosts for each in host.taken()}
    problems = {
        f"of {count} notifications were taken": (len(names), len(names) < count),
        "notifications came again": (len(taken) - len(names), len(taken) > len(names)),
        "requests were out of order": (wrong, wrong > 0),
        "requests had no valid signature": (unsigned, unsigned > 0),
    }
    return [f"{number} {what}" for what, (number, is_wrong) in problems.items() if is_wrong]


def _await_events(host: HostApplication, events: Set[str], what: str) -> None:
    expect(lambda: events <= events_taken(host.requests()), WITHIN, what)


def _count(hosts: Sequence[HostApplication]) -> int:
    return sum(host.count() for host in hosts)


def _await(hosts: Sequence[HostApplication], count: int) -> None:
    expect(lambda: _count(hosts) >= count, WITHIN, f"{count} notifications have come")


@dataclass(frozen=True, kw_only=True)
class _Ours:
    """Mailroom: a notification for each mail and endpoint. No tenant changes anything at Front."""

    on: Fixture
    endpoints: int

    def start_worker(self) -> None:
        self.on.mailroom.platform.procfile(ONLY_WORKER, pool="threads")

    def stop_worker(self) -> None:
        problems = self.on.mailroom.platform.stop("worker")
        assert not problems, problems

    def add(self, count: int) -> None:
        each = count // self.endpoints // len(self.on.companies)
        for company in self.on.companies:
            self.on.mailroom.front.send("inbound_received", company, **order(company, count=each))
        _await_tasks(self.on, "notify", each * len(self.on.companies) * self.endpoints)

    def send(self, per_second: int, seconds: float) -> dict[str, float]:
        send_steadily(self.on.mailroom.front, self.on.companies, *WARM_UP)
        self.on.settle(WITHIN)
        with RowWatcher(self.on.mailroom.database_url) as watcher:
            [(known,)] = self.on.mailroom.rows("SELECT count(*) FROM events")
            expect(lambda: len(watcher.rows) == known, WITHIN, "the watcher knows the earlier events")
            earlier = set(watcher.rows)
            began = time.time()
            send_steadily(self.on.mailroom.front, self.on.companies, per_second, seconds)
            time.sleep(max(0.0, began + seconds - time.time()))
            self.on.settle(WITHIN)
            return {event: row.at for event, row in watcher.rows.items() if event not in earlier}

    def cpu(self) -> CpuByKind:
        return CpuByKind(self.on.servers, self.on.mailroom.platform)


@contextmanager
def _our_sender(servers: Servers, folder: Path, endpoints: int) -> Iterator[tuple[Sender, Sequence[HostApplication]]]:
    with fixture(servers, folder, f"notify{endpoints}", companies=TENANTS) as on:
        on.mailroom.rows("UPDATE tenants SET action = 'none' RETURNING id")
        ours = _Ours(on=on, endpoints=endpoints)
        ours.stop_worker()
        yield ours, _with_endpoints(on, endpoints, types=ABOUT_MESSAGES)


def _with_endpoints(on: Fixture, count: int, **parts: Any) -> list[HostApplication]:
    mailroom = on.mailroom
    hosts = _hosts(mailroom.platform, mailroom.folder, count)
    for host in hosts:
        _, host.secret = mailroom.endpoint(host.name, host.url, **parts)
        host.behave()
    return hosts


def _hosts(platform: Platform, folder: Path, count: int) -> list[HostApplication]:
    hosts = [HostApplication(platform, folder, f"host{number}") for number in range(count)]
    for host in hosts:
        host.start()
    return hosts


def _await_tasks(on: Fixture, kind: str, count: int) -> None:
    waiting = "SELECT count(*) FROM tasks WHERE kind = %s AND state = 'ready'"
    expect(lambda: on.mailroom.rows(waiting, kind) == [(count,)], WITHIN, f"{count} tasks wait")


@dataclass(frozen=True, kw_only=True)
class _Textbook:
    """A Celery task for each notification."""

    servers: Servers
    platform: Platform
    redis_url: str
    hosts: Sequence[HostApplication]

    def start_worker(self) -> None:
        options = ("-A", "bench.peers.textbook.notifier", "worker", "-P", "threads", "-c", str(SLOTS), *QUIET)
        self.platform.run("worker", [sys.executable, "-m", "celery", *options])

    def stop_worker(self) -> None:
        self.platform.stop("worker")

    def add(self, count: int) -> None:
        self._send(count, pause=0.0)

    def send(self, per_second: int, seconds: float) -> dict[str, float]:
        self._send(round(WARM_UP[0] * WARM_UP[1]), pause=1 / WARM_UP[0])
        return self._send(round(per_second * seconds), pause=1 / per_second)

    def cpu(self) -> CpuByKind:
        return CpuByKind(self.servers, self.platform)

    def _send(self, count: int, *, pause: float) -> dict[str, float]:
        """Send one after the other at this pause; return the moment before each was sent, by its event."""
        sent, began = {}, time.time()
        with celery(self.redis_url) as app:
            for number in range(count):
                time.sleep(max(0.0, began + number * pause - time.time()))
                made = notification()
                sent[made.event] = time.time()
                app.tasks[POST].delay(self.hosts[number % len(self.hosts)].url, made.id, made.body)
        return sent


@contextmanager
def _textbook(servers: Servers, folder: Path, endpoints: int) -> Iterator[tuple[Sender, Sequence[HostApplication]]]:
    own = folder / f"textbook{endpoints}"
    own.mkdir()
    with servers.fresh() as (_, redis_url), Platform(base_environment() | {"REDIS_URL": redis_url}, own) as platform:
        hosts = _hosts(platform, own, endpoints)
        yield _Textbook(servers=servers, platform=platform, redis_url=redis_url, hosts=hosts), hosts


def _front_work(servers: Servers, folder: Path, size: Size) -> dict[str, Any]:
    """Return the changes a second without and with an endpoint, in turns, and the ratio of the best rounds."""
    rates: dict[str, list[float]] = {"without": [], "with": []}
    for number in range(size.rounds):
        for name, count in (("without", 0), ("with", 1)):
            with fixture(servers, folder, f"{name}{number}", companies=TENANTS) as on:
                rates[name].append(_changes_per_second(on, size.front, endpoints=count))
            report(f"Front work {name} an endpoint: {rates[name]}")
    best = {name: max(found) for name, found in rates.items()}
    return {
        "rounds": {name: [round(rate, 1) for rate in found] for name, found in rates.items()},
        **{f"{name}_per_second": round(rate, 1) for name, rate in best.items()},
        "ratio": round(best["with"] / best["without"], 3),
    }


def _changes_per_second(on: Fixture, mails: int, *, endpoints: int) -> float:
    front, platform = on.mailroom.front, on.mailroom.platform
    problems = platform.stop("worker")
    assert not problems, problems
    _with_endpoints(on, endpoints)
    each = mails // len(on.companies)
    for company in on.companies:
        front.send("inbound_received", company, **order(company, count=each))
    _await_tasks(on, "apply_action", each * len(on.companies))
    if endpoints:
        _await_tasks(on, "notify", each * len(on.companies))
    began = time.time()
    platform.procfile(ONLY_WORKER, pool="threads")
    on.settle(WITHIN)
    return middle_rate(list(changed_at(front, began).values()))


NOTIFY = Benchmark(
    name="notify",
    measures="notifications a second, their latency and CPU, beside a Celery task each; and Front work beside them",
    run=notify,
)
