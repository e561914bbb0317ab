"""A backlog at Front's rate limit: the archives that are made in each minute, of those that the limit allows."""

from __future__ import annotations

import os
import time
from bisect import bisect_left, insort
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import psycopg

from bench.flow.fixture import BUDGET, LATENCY_MS, MINUTE, fixture, has_changed
from bench.harness.benchmark import Benchmark, report, timed
from bench.harness.mail import order
from bench.harness.platform import procfile_commands
from bench.harness.processes import expect
from bench.harness.servers import both_servers
from bench.harness.timing import percentile

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping, Sequence
    from pathlib import Path

    from bench.flow.fixture import Fixture
    from bench.harness.benchmark import Figures
    from bench.harness.servers import Servers

NOTE = (
    "Each mail is ten minutes old, or sent while the workers run where the name says `fresh`. `possible`: Front's whole"
    " limit, divided by the calls that an old archive takes at least: the conversation, its events, the change, and its"
    " file. A live mail takes one. `wasted`: the calls of a minute that its archives did not need. `repeated`: calls"
    " about a conversation or a file that Front refused, or that were made again later. In most cases the minute of"
    " Front and of our budget is shorter, with the limit of a whole one. Front answers at once, or after 80 ms."
)
#: The conversation, its events and the change.
CALLS_OF_OLD_ARCHIVE = 3
CALLS_OF_LIVE_ARCHIVE = 1
OLD_SECONDS = 600.0
#: In the first two minutes processes start and leases settle.
STARTING_MINUTES = 2
#: Of the archives that the limit allows, so many mails wait: calls may be saved.
SPARE = 2
RECORDED_WITHIN = 600.0
REFUSED = 429
LIVE_A_MINUTE = 6
SMALLEST = "smallest_possible_ratio"
#: Failings that a backlog, which is not finished here, must not have either.
FAILINGS = ("double", "ghost", "wrong_token")


@dataclass(frozen=True, kw_only=True)
class Case:
    """One trial: old mail of each tenant, workers, and how long a minute lasts."""

    tenants: int
    files: int
    workers: int
    minute: float
    minutes: int = 4
    live: int = 0
    fresh: bool = False
    slow: bool = False

    @property
    def name(self) -> str:
        """The name in the result."""
        files = "with" if self.files else "without"
        live = "_beside_live_mail" if self.live else ""
        kind = live + "_fresh" * self.fresh + "_slow" * self.slow
        return f"{self.tenants}_tenants_{files}_files_{self.workers}_workers{kind}"

    @property
    def least_calls(self) -> int:
        """The calls that an archive takes at least, with the download of its files."""
        return CALLS_OF_OLD_ARCHIVE + self.files

    @property
    def mails_each(self) -> int:
        """The old mails of each tenant: more than the limit allows to archive."""
        fresh = STARTING_MINUTES * BUDGET if self.fresh else 0
        return fresh + SPARE * self.minutes * BUDGET // self.least_calls


QUICK = (
    Case(tenants=1, files=0, workers=1, minute=15, minutes=3),
    Case(tenants=1, files=1, workers=3, minute=15, minutes=3),
    Case(tenants=10, files=0, workers=2, minute=30, minutes=3),
    Case(tenants=1, files=0, workers=1, minute=15, minutes=3, live=LIVE_A_MINUTE),
)
FULL = (
    Case(tenants=1, files=0, workers=1, minute=MINUTE, minutes=5, fresh=True),
    Case(tenants=1, files=1, workers=3, minute=MINUTE, minutes=5, fresh=True),
    *(Case(tenants=1, files=files, workers=count, minute=30) for files, count in ((0, 2), (0, 3), (0, 4))),
    *(Case(tenants=1, files=files, workers=count, minute=30) for files, count in ((1, 1), (1, 2), (1, 4))),
    Case(tenants=1, files=0, workers=1, minute=MINUTE, slow=True),
    *(Case(tenants=50, files=files, workers=count, minute=MINUTE) for files, count in ((0, 1), (1, 2), (0, 3), (1, 4))),
    *(Case(tenants=1, files=files, workers=2, minute=30, live=LIVE_A_MINUTE) for files in (0, 1)),
)


@dataclass(kw_only=True)
class Sent:
    """Conversations in the order of their mail, by company, and when each live mail was sent."""

    old: dict[str, list[str]] = field(default_factory=dict)
    live: dict[str, float] = field(default_factory=dict)


def limit(*, quick: bool) -> Figures:
    """Work off a backlog at the limit, case by case."""
    return measure(QUICK if quick else FULL)


def measure(chosen: Sequence[Case]) -> Figures:
    """Return the figures of these cases, each on an empty database."""
    cases: dict[str, dict[str, Any]] = {}
    took: dict[str, float] = {}
    with both_servers() as (servers, folder):
        for number, case in enumerate(chosen):
            with timed(took, case.name):
                cases[case.name] = _measure(servers, folder, f"limit{number}", case)
            report(f"{case.name}: {cases[case.name]}")
    return {
        SMALLEST: min(figures[SMALLEST] for figures in cases.values()),
        "cases": cases,
        "took_seconds": took,
        "note": NOTE,
        "broken": [f"{name}: {problem}" for name, figures in cases.items() for problem in figures.pop("broken")],
    }


def _measure(servers: Servers, folder: Path, name: str, case: Case) -> dict[str, Any]:
    with fixture(
        servers,
        folder,
        name,
        companies=case.tenants,
        budget=BUDGET,
        minute_seconds=case.minute,
        latency_ms=LATENCY_MS if case.slow else 0,
    ) as on:
        started = time.time()
        sent = Sent(old=_begin(on, case))
        expect(lambda: bool(_calls(on, started)), RECORDED_WITHIN, "a worker calls Front")
        began = _calls(on, started)[0]["at"]
        _let_pass(on, case, began, sent)
        load = os.getloadavg()[0]
        calls = _calls(on, began)
        verdict = on.verdict()
    changed = changes(calls)
    minutes = minutes_of(Moments.of(calls, changed, sent.live), case, began)
    return {
        SMALLEST: min(each["possible_ratio"] for each in minutes[STARTING_MINUTES:]),
        "minute_seconds": case.minute,
        "minutes": minutes,
        "refused": sum(call["status"] == REFUSED for call in calls),
        "repeated": sum(1 for _ in repeated_calls(calls)),
        "overtaken_most": max(most_overtaken(mails, changed) for mails in sent.old.values()),
        **live_figures(sent, changed),
        "load_average": round(load, 2),
        "broken": violations(verdict, case, changed, sent),
    }


def _begin(on: Fixture, case: Case) -> dict[str, list[str]]:
    """Send mail and start the workers: those first where the mail is to be fresh. Return what `_fill` returns."""
    problems = on.mailroom.platform.stop("worker")
    assert not problems, problems
    if case.fresh:
        _start_workers(on, case)
        return _fill(on, case)
    old = _fill(on, case)
    _start_workers(on, case)
    return old


def _fill(on: Fixture, case: Case) -> dict[str, list[str]]:
    """Send every tenant its mail; return each one's conversations, oldest first, once all are rows."""
    with psycopg.connect(on.mailroom.database_url) as conn:
        conn.execute("UPDATE tenants SET connected_at = now() - interval '1 day'")  # the mail came after that
    how: dict[str, Any] = {"count": case.mails_each, "attachment_count": case.files}
    how |= {} if case.fresh else {"emitted_at": time.time() - OLD_SECONDS}
    old = {company: _conversations(on, company, **how) for company in on.companies}
    total = sum(map(len, old.values()))
    recorded = "SELECT count(*) FROM events"
    expect(lambda: on.mailroom.rows(recorded) == [(total,)], RECORDED_WITHIN, f"all {total} mails are rows")
    return old


def _conversations(on: Fixture, company: str, **how: Any) -> list[str]:
    events = on.mailroom.front.send("inbound_received", company, **order(company, threads=1, **how))["events"]
    return [event["conversation_id"] for event in events]


def _start_workers(on: Fixture, case: Case) -> None:
    [shell, option, command] = procfile_commands()["worker"]
    command = command.replace("-A workers.app", "-A bench.harness.short_minute")
    minute = {"MINUTE_SECONDS": str(round(case.minute))}
    on.mailroom.platform.run("worker", [shell, option, command], case.workers, **minute)


def _let_pass(on: Fixture, case: Case, began: float, sent: Sent) -> None:
    """Wait until the minutes are over, and send live mail meanwhile, to each company in turn."""
    until = began + case.minutes * case.minute
    pause = case.minute / case.live if case.live else until - time.time()
    while time.time() + pause < until:
        time.sleep(pause)
        company = on.companies[len(sent.live) % len(on.companies)]
        at = time.time()
        sent.live |= dict.fromkeys(_conversations(on, company), at)
    time.sleep(max(0.0, until - time.time()))


def _calls(on: Fixture, since: float) -> list[dict[str, Any]]:
    return [call for call in on.mailroom.front.calls() if call["at"] >= since]


def changes(calls: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return when each conversation was archived."""
    return {call["conversation"]: float(call["at"]) for call in reversed(calls) if has_changed(dict(call))}


@dataclass(frozen=True, kw_only=True)
class Moments:
    """When each call, archive of old mail and archive of live mail happened."""

    calls: Sequence[float]
    old: Sequence[float]
    live: Sequence[float]

    @classmethod
    def of(cls, calls: Sequence[Mapping[str, Any]], changed: Mapping[str, float], live: Container[str]) -> Self:
        """Find them in the ledger."""
        return cls(
            calls=[call["at"] for call in calls],
            old=[at for conversation, at in changed.items() if conversation not in live],
            live=[at for conversation, at in changed.items() if conversation in live],
        )

    def between(self, began: float, ended: float) -> dict[str, int]:
        """Count those in a span of time, each kind by its name."""
        return {name: sum(began <= at < ended for at in moments) for name, moments in vars(self).items()}


def minutes_of(moments: Moments, case: Case, began: float) -> list[dict[str, Any]]:
    """Return the figures of each minute."""
    starts = [began + number * case.minute for number in range(case.minutes)]
    return [_minute(moments.between(start, start + case.minute), case) for start in starts]


def _minute(counts: Mapping[str, int], case: Case) -> dict[str, Any]:
    made = counts["old"] + counts["live"]
    for_live = counts["live"] * CALLS_OF_LIVE_ARCHIVE
    possible = counts["live"] + (case.tenants * BUDGET - for_live) / case.least_calls
    return {
        "archives": made,
        "possible": round(possible, 1),
        "possible_ratio": round(made / possible, 3),
        "calls": counts["calls"],
        "wasted": max(0, counts["calls"] - for_live - counts["old"] * case.least_calls),
    }


def repeated_calls(calls: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yield the calls about a conversation or a file that Front refused, or that were made again later."""
    later: set[tuple[str, ...]] = set()
    for call in reversed(calls):
        if "{id}" not in call["route"] and not call["conversation"]:
            continue
        one = (call["company"], call["method"], call["path"].partition("?")[0])
        if call["status"] == REFUSED or one in later:
            yield call
        else:
            later.add(one)


def most_overtaken(mails: Sequence[str], changed: Mapping[str, float]) -> int:
    """Return how many older mails waited at most while a newer one of the tenant was archived."""
    place = {conversation: number for number, conversation in enumerate(mails)}
    done: list[int] = []
    most = 0
    for conversation in sorted((each for each in mails if each in changed), key=changed.__getitem__):
        most = max(most, place[conversation] - bisect_left(done, place[conversation]))
        insort(done, place[conversation])
    return most


def live_figures(sent: Sent, changed: Mapping[str, float]) -> dict[str, Any]:
    """Return how long live mail waited, and how much of the backlog was archived meanwhile; empty without any."""
    if not sent.live:
        return {}
    waits = sorted(changed[each] - at for each, at in sent.live.items() if each in changed)
    old = [at for conversation, at in changed.items() if conversation not in sent.live]
    until = max(old, default=0.0)
    ahead = [
        sum(at < other < changed.get(conversation, until) for other in old) for conversation, at in sent.live.items()
    ]
    return {
        "live": len(sent.live),
        "live_archived": len(waits),
        "live_p50_seconds": round(percentile(waits, 0.5), 2),
        "live_slowest_seconds": round(max(waits, default=0.0), 2),
        "backlog_before_live_most": max(ahead),
    }


def violations(verdict: Mapping[str, int], case: Case, changed: Mapping[str, float], sent: Sent) -> list[str]:
    """Return the violated guarantees in words, and whether the backlog ended too early to measure anything."""
    failings = [f"{verdict[failing]} {failing}" for failing in FAILINGS if verdict[failing]]
    old = len(changed) - sum(conversation in changed for conversation in sent.live)
    ended = old >= case.tenants * case.mails_each
    return [*failings, "the backlog ended before the last minute: this measures nothing"] if ended else failings


LIMIT = Benchmark(
    name="limit",
    measures="archives a minute of a backlog at Front's rate limit, of those that the limit allows",
    run=limit,
)
