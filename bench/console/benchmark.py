"""The pages of the console over many events and failed tasks, while people have it open, and beside the recorder."""

from __future__ import annotations

import itertools
import os
import random
import secrets
import subprocess
import sys
import threading
import time
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
import requests

from bench.console.database import ADDRESSES, fill
from bench.harness.benchmark import Benchmark, report
from bench.harness.platform import ROOT
from bench.harness.ports import free_port
from bench.harness.processes import wait_until
from bench.harness.servers import both_servers
from bench.harness.timing import percentile
from bench.harness.webhooks import deliveries
from bench.record.rounds import Round, Stores, drained, read_line, running
from console.issued_secrets import digest_of, new_api_token
from shared.db.accounts import accounts, sessions
from shared.db.tenants import api_tokens
from workers.recording.prefetch import CHUNK

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from bench.harness.benchmark import Figures

#: A page is read again so often, as its script does.
POLL_SECONDS = 5.0
SEED_OF_FIGURES = 1_000
LISTENS_WITHIN, ANSWERS_WITHIN = 60.0, 30.0
#: Each screen with a name for the result. `{task}`, `{event}`, `{group}` and `{conversation}` are of the middle of all.
SCREENS: Mapping[str, str] = {
    "overview": "/",
    "status": "/status",
    "failed": "/failed",
    "failed_of_a_tenant": "/failed?q=tenant:cmp_500",
    "tasks": "/tasks",
    "tasks_failed": "/tasks?q=state:failed",
    "tasks_failed_older": "/tasks?q=state:failed&before={task}",
    "tasks_failed_of_a_code": "/tasks?q=state:failed+code:bug",
    "tasks_of_a_code": "/tasks?q=code:front_unavailable",
    "tasks_of_a_tenant": "/tasks?q=tenant:cmp_500+state:failed",
    "tasks_of_a_kind": "/tasks?q=kind:undo_action",
    "tasks_of_a_group": "/tasks?q=group:{group}",
    "tasks_of_a_conversation": "/tasks?q=conversation:{conversation}",
    "tasks_of_an_hour": "/tasks?q=state:failed+since:1h",
    "tasks_until": "/tasks?q=state:failed+until:10d",
    "tasks_parked": "/tasks?q=state:parked",
    "task": "/tasks/{task}",
    "events": "/events",
    "events_failed": "/events?q=state:failed",
    "events_of_a_code": "/events?q=code:bug",
    "events_of_a_tenant": "/events?q=tenant:cmp_500",
    "events_of_a_kind": "/events?q=kind:undo_action",
    "events_of_a_conversation": "/events?q=conversation:{conversation}",
    "events_of_an_hour": "/events?q=since:1h",
    "events_until": "/events?q=until:10d",
    "events_of_a_rare_type": "/events?q=type:conversation_moved",
    "events_done_of_a_code": "/events?q=state:done+code:bug",
    "events_of_an_address": "/events?q=email:nobody@elsewhere.example+since:6h",
    "events_parked": "/events?q=state:parked",
    "event": "/events/{event}",
    "parked": "/parked",
    "rejected": "/rejected",
    "tenants": "/tenants",
    "tenant": "/tenants/500",
    "repair": "/repair",
    "jobs": "/jobs",
    "audit": "/audit",
    "people": "/people",
    "settings": "/settings",
    "api_status": "/api/v1/status",
    "api_parked": "/api/v1/parked",
}
NOTE = (
    "Each open console reads its page again every 5 s, as its script does, and gets no text where nothing changed; then"
    " somebody else opens every screen in turn, and those times count. `recorder_ratio` is the CPU time of an event, in"
    " the recorder and its sessions of PostgreSQL, without the figures of the minute to that with them; both take turns"
    " every thousand events of one run. The other ratio is the recorder's own CPU time without open consoles to that"
    " with them, in turns, too. A ratio is the median of all pairs; half of them are between the quartiles."
)


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is stored, how many people look, and for how long.

    `counted` webhooks are recorded for the cost of the figures, and `pairs` of recordings for that of open consoles.
    """

    stored: int
    failed: int
    consoles: int
    visits: int
    counted: int
    pairs: int
    webhooks: int


FULL = Size(stored=1_000_000, failed=100_000, consoles=50, visits=15, counted=100_000, pairs=3, webhooks=20_000)
QUICK = Size(stored=20_000, failed=2_000, consoles=5, visits=4, counted=12_000, pairs=2, webhooks=1_000)


def console(*, quick: bool) -> Figures:
    """Measure how long each screen takes, and how recording fares meanwhile."""
    size = QUICK if quick else FULL
    with both_servers() as (servers, folder), servers.fresh() as urls:
        began = time.monotonic()
        fill(urls[0], stored=size.stored, failed=size.failed)
        report(f"{size.stored:,} events are stored after {time.monotonic() - began:.0f} s")
        with Stores(servers, urls, folder) as stores, _console(stores, folder) as site:
            seconds = _visits(site, size)
            counting = _cost_of_figures(stores, size)
            looking = _cost_of_consoles(site, stores, size)
    screens = {name: _times(each) for name, each in seconds.items()}
    slowest = max(screens, key=lambda name: screens[name]["p95_ms"])
    return {
        "slowest_screen": slowest,
        "slowest_screen_p95_ms": screens[slowest]["p95_ms"],
        "recorder_ratio": counting.ratio,
        "recorder_ratio_quartiles": counting.quartiles,
        "recorder_beside_consoles_ratio": looking.ratio,
        "recorder_beside_consoles_ratio_quartiles": looking.quartiles,
        "screens": screens,
        "events": size.stored,
        "failed_tasks": size.failed,
        "open_consoles": size.consoles,
        "note": NOTE,
        "broken": [*site.broken, *counting.broken, *looking.broken],
    }


class LogIn(NamedTuple):
    """The headers of a browser for the pages, and of a program for the API."""

    cookie: str
    token: str


class Site:
    """A running console and the cookie of somebody who may see everything. `broken` lists wrong answers."""

    def __init__(self, url: str, log_in: LogIn, numbers: Mapping[str, object]) -> None:
        self.broken: list[str] = []
        self._url = url
        self._log_in = log_in
        self._paths = {name: path.format(**numbers) for name, path in SCREENS.items()}

    def visitor(self) -> requests.Session:
        """Return a browser that is logged in."""
        browser = requests.Session()
        browser.trust_env = False
        browser.cookies.update({"mailroom-login": self._log_in.cookie})
        browser.headers.update({"Authorization": f"Bearer {self._log_in.token}"})
        return browser

    def open(self, browser: requests.Session, screen: str, **headers: str) -> tuple[float, requests.Response]:
        """Open a screen; return the seconds that it took, and the answer."""
        began = time.monotonic()
        address = self._url + self._paths[screen]
        options: dict[str, Any] = {"headers": headers, "timeout": ANSWERS_WITHIN}
        try:
            answer = browser.get(address, **options)
        except requests.ConnectionError:  # an idle connection may be closed just then; a browser opens another one
            answer = browser.get(address, **options)
        took = time.monotonic() - began
        if answer.status_code not in {200, 204} or answer.history:
            self.broken.append(f"{screen} was answered with {answer.status_code}")
        return took, answer

    @contextmanager
    def opened(self, consoles: int) -> Iterator[None]:
        """Have so many people look at the screens, each at one of them, until the end of the block."""
        stop = threading.Event()
        screens = itertools.islice(itertools.cycle(SCREENS), consoles)
        people = [threading.Thread(target=self._look, args=(screen, stop), daemon=True) for screen in screens]
        for person in people:
            person.start()
        try:
            yield
        finally:
            stop.set()
            for person in people:
                person.join()

    def _look(self, screen: str, stop: threading.Event) -> None:
        browser, seen = self.visitor(), ""
        stop.wait(random.uniform(0, POLL_SECONDS))
        while not stop.is_set():
            try:
                _, answer = self.open(browser, screen, **{"HX-Request": "true", "X-Seen": seen})
            except requests.RequestException as exc:
                self.broken.append(f"{screen} was not answered ({type(exc).__name__})")
            else:
                if 'data-seen="' in answer.text:
                    seen = answer.text.partition('data-seen="')[2].partition('"')[0]
            stop.wait(POLL_SECONDS)


def _visits(site: Site, size: Size) -> dict[str, list[float]]:
    """Open every screen in turn while others have the console open."""
    seconds: dict[str, list[float]] = defaultdict(list)
    browser = site.visitor()
    for screen in SCREENS:
        site.open(browser, screen)  # compiles its template
    with site.opened(size.consoles):
        time.sleep(POLL_SECONDS)
        for number in range(size.visits):
            for screen in SCREENS:
                took, _ = site.open(browser, screen)
                seconds[screen].append(took)
            report(f"visit {number + 1}/{size.visits} of all {len(SCREENS)} screens")
    return seconds


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """The cost of an event without something and with it, in pairs that are neighbours in time."""

    without: list[float]
    with_it: list[float]
    broken: list[str]

    @property
    def ratio(self) -> float:
        """The median of all pairs: the cost without it to that with it, which is 1 if it costs nothing."""
        return round(median(self._ratios), 3)

    @property
    def quartiles(self) -> list[float]:
        """The ratios between which half of all pairs are."""
        first, _, last = quantiles(self._ratios, n=4, method="inclusive")
        return [round(first, 3), round(last, 3)]

    @property
    def _ratios(self) -> list[float]:
        return [without / with_it for without, with_it in zip(self.without, self.with_it, strict=True)]


def _cost_of_figures(stores: Stores, size: Size) -> Pairs:
    """Record with the figures of the minute in every other block of chunks."""
    webhooks = list(deliveries(size.counted, addresses=ADDRESSES, seed=SEED_OF_FIGURES))
    before = stores.last_event()
    stores.put(webhooks)
    command = [sys.executable, "-m", "bench.console.figures_cost", str(CHUNK)]
    with running(command, stores, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        read_line(process.stdout)
        process.stdin.write(b"go\n")
        process.stdin.flush()
        measured = read_line(process.stdout)
        process.stdin.close()
        process.wait(LISTENS_WITHIN)
    unrecorded = len(webhooks) - stores.events_after(before)
    pairs = Pairs(without=measured["without"], with_it=measured["with"], broken=_broken(unrecorded))
    report(f"CPU of an event without figures to that with them: {pairs.ratio}, half of all between {pairs.quartiles}")
    return pairs


def _cost_of_consoles(site: Site, stores: Stores, size: Size) -> Pairs:
    """Record in turns: while nobody looks, and while the consoles are open. The first of both warms up."""
    found: dict[bool, list[Round]] = {False: [], True: []}
    seeds = itertools.count(1)
    for number in range(size.pairs + 1):
        for looking in (False, True) if number % 2 else (True, False):
            with site.opened(size.consoles if looking else 0):
                time.sleep(POLL_SECONDS / 2 if looking else 0)
                webhooks = list(deliveries(size.webhooks, addresses=ADDRESSES, seed=next(seeds)))
                found[looking].append(drained(stores, webhooks, CHUNK))
            place = "beside open consoles" if looking else "alone"
            report(f"recording {number}/{size.pairs} {place}: {found[looking][-1]}")
    alone, beside = ([each.own_cpu_us for each in found[looking][1:]] for looking in (False, True))
    unrecorded = sum(each.unrecorded for rounds in found.values() for each in rounds)
    return Pairs(without=alone, with_it=beside, broken=_broken(unrecorded))


def _broken(unrecorded: int) -> list[str]:
    return [f"{unrecorded} webhooks without a row"] if unrecorded else []


def _times(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {f"{name}_ms": round(percentile(ordered, share) * 1000, 1) for name, share in (("p50", 0.5), ("p95", 0.95))}


@contextmanager
def _console(stores: Stores, folder: Path) -> Iterator[Site]:
    """Run a console on the filled database."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    own = {"SECRET_KEY": secrets.token_hex(16), "CONSOLE_PORT": str(port), "PUBLIC_URL": url}
    with (folder / "console.log").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "console.web"],
            cwd=ROOT,
            env={**stores.environment, **own},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until(lambda: _answers(url), LISTENS_WITHIN, every=0.1)
        with psycopg.connect(stores.database_url) as conn:
            yield Site(url, _log_in(conn), _numbers(conn))
    finally:
        process.terminate()
        process.wait(LISTENS_WITHIN)


def _answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/livez", timeout=1).ok
    except requests.RequestException:
        return False


def _log_in(conn: psycopg.Connection[Any]) -> LogIn:
    secret, token = secrets.token_urlsafe(32), new_api_token()
    new = api_tokens.NewApiToken(name="bench", digest=digest_of(token), scope="read", tenant_id=None, valid_for=None)
    api_tokens.add(conn, new)
    account_id = accounts.add(conn, email=f"bench{os.getpid()}@example.com", name="Bench", role="admin")
    sessions.start(conn, account_id, digest_of(secret))
    conn.commit()
    return LogIn(secret, token)


def _numbers(conn: psycopg.Connection[Any]) -> dict[str, object]:
    row = conn.execute(
        """
        SELECT k.id, k.event_id, k.failure_group_id, e.conversation_id FROM tasks k JOIN events e ON e.id = k.event_id
        WHERE k.state = 'failed' AND k.id >= (SELECT max(id) / 2 FROM tasks) ORDER BY k.id LIMIT 1
        """
    ).fetchone()
    assert row, "nothing failed"
    conn.rollback()
    return dict(zip(("task", "event", "group", "conversation"), row, strict=True))


CONSOLE = Benchmark(
    name="console", measures="the console's pages over a million events, and recording beside them", run=console
)
