"""Faults of host applications: away, slow, hanging, flapping, gone, redirecting; and of ours while they are told.

The waits of the product are divided, so that an hour of a host's absence takes a minute.
"""

from __future__ import annotations

import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.faults import host_verdict
from bench.faults.run import Run
from bench.faults.scene import Findings
from bench.flow.fixture import has_changed
from bench.harness.feed_reader import FeedReader
from bench.harness.host_application import HOOK, HostApplication
from bench.harness.processes import expect, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bench.faults.result import Result
    from bench.faults.run import Suite
    from bench.faults.scene import Scene
    from bench.harness.host_application import Request
    from console.up.embedded import Server

SETTLES_WITHIN = 600.0
BACK_WITHIN = 60.0
HELD_WITHIN = 120.0
HOUR = 3_600.0
#: In the short size an hour lasts a minute.
DIVISOR = 60
#: Just within the 20 s that an endpoint has to answer.
SLOW_SECONDS = 19.0
#: The short lease of other runs would leave an endpoint 10 s.
LEASE_FOR_SLOW_HOSTS = "60"
#: Requests that may be under way when an endpoint answers 410: at most two are sent to it at a time.
IN_FLIGHT = 2
QUICK = "quick"


@dataclass(frozen=True, kw_only=True)
class HostScene:
    """A scene with host applications, each with an endpoint, and a reader of the feed."""

    scene: Scene
    hosts: dict[str, HostApplication]
    endpoint_ids: dict[str, int]
    feed: FeedReader
    #: Nothing of this company is changed before every host has its message.
    patient: str

    def mail(self, per_second: float) -> Any:
        """Return mail, a context manager: with files now and then, and often about one conversation."""
        return self.scene.mail(per_second, same_conversation_each=2)

    def held_cause(self, name: str) -> str | None:
        """Return why an endpoint is held; None while it is open."""
        [(cause,)] = self.scene.mailroom.rows("SELECT held_cause FROM endpoints WHERE name = %s", name)
        return None if cause is None else str(cause)

    def judge(self, *, note: str = "", broken: list[str] | None = None) -> Result:
        """Wait until all is told and done, and compare every host with Front's ledger, the feed and each other."""
        return self.scene.judge(within=SETTLES_WITHIN, note=note, broken=broken or (), look=self._look)

    def _look(self) -> Findings:
        self.feed.catch_up()
        acknowledged = self.scene.front.acknowledged()
        requests = {name: host.requests() for name, host in self.hosts.items()}
        lost = {name: acknowledged - host_verdict.events_taken(found) for name, found in requests.items()}
        everything = [each for found in requests.values() for each in found]
        again = sum(map(host_verdict.taken_again, requests.values()))
        counts = {
            "notifications of the feed were never taken": sum(
                host_verdict.untold(self.feed.items, found, self.endpoint_ids[name]) for name, found in requests.items()
            ),
            "notifications came under another id": sum(map(host_verdict.renamed, requests.values())),
            "requests were out of order": sum(map(host_verdict.out_of_order, requests.values())),
            "requests had no valid signature": sum(not each.verified for each in everything),
            "requests followed a redirect": sum(each.path != HOOK for each in everything),
            "changes came before the host had the message": host_verdict.hasty_changes(
                self._changes(), list(requests.values())
            ),
            "notifications are not done": self._not_done(),
        }
        broken = [f"{count} {what}" for what, count in counts.items() if count]
        broken += [f"{name} lacks {len(missing)} events" for name, missing in lost.items() if missing]
        broken += [*host_verdict.gaps_in_feed(self.feed.items, acknowledged), *self.feed.problems]
        taken = sum(len({each.id for each in found if each.is_taken}) for found in requests.values())
        note = (
            f"{len(self.hosts)} hosts took {taken:,} notifications in {len(everything):,} requests, {again} again under"
            f" the same id; {len(self.feed.items):,} in the feed, {self.feed.failed_calls} calls of its reader failed"
        )
        return Findings(lost=set().union(*lost.values()), broken=tuple(broken), note=note)

    def _changes(self) -> dict[str, list[float]]:
        """Return when the conversations of the patient company were changed."""
        found: dict[str, list[float]] = {}
        for call in self.scene.front.calls():
            if call["company"] == self.patient and has_changed(call):
                found.setdefault(call["conversation"], []).append(call["at"])
        return found

    def _not_done(self) -> int:
        [(count,)] = self.scene.mailroom.rows("SELECT count(*) FROM tasks WHERE kind = 'notify' AND state <> 'done'")
        return int(count)


@contextmanager
def _hosts(
    suite: Suite, name: str, *names: str, divisor: float = DIVISOR, workers: int = 1, lease: str | None = None
) -> Iterator[HostScene]:
    """Run a Mailroom whose endpoints are these host applications, and the first of whose tenants waits for them."""
    app, counts = "bench.harness.short_schedule", {"worker": workers}
    settings: Any = {"WAITS_DIVIDED_BY": str(divisor)} | ({"LEASE_SECONDS": lease} if lease else {})
    with suite.scene(name, counts=counts, app=app, **settings) as scene:
        mailroom, patient = scene.mailroom, scene.companies[0]
        mailroom.rows("UPDATE tenants SET act_after = 'notified' WHERE company_id = %s RETURNING id", patient)
        mailroom.start_console()
        hosts = {each: HostApplication(scene.platform, mailroom.folder, each) for each in names}
        ids = {}
        for each, host in hosts.items():
            ids[each], host.secret = mailroom.endpoint(each, host.url)
            host.start()
        with FeedReader(mailroom) as feed:
            yield HostScene(scene=scene, hosts=hosts, endpoint_ids=ids, feed=feed, patient=patient)


def away(suite: Suite) -> Result:
    """Stop a host for an hour, beside another one that works."""
    divisor = suite.pick(DIVISOR, DIVISOR / 3)
    with _hosts(suite, "notify_away", QUICK, "away", divisor=divisor) as on:
        quick, gone = on.hosts.values()
        with on.mail(suite.pick(6, 5)):
            expect(lambda: bool(gone.taken()), BACK_WITHIN, "the host got something before it goes")
            gone.stop()
            on.scene.injected += 1
            began = time.time()
            held = wait_until(lambda: on.held_cause("away") == "failures", HELD_WITHIN)
            time.sleep(max(0.0, began + HOUR / divisor - time.time()))
            others = sum(each.began > began for each in quick.taken())
            gone.start()
            expect(lambda: on.held_cause("away") is None, HELD_WITHIN, "the endpoint is released by itself")
        broken = [] if held else ["an endpoint that does not answer was not held"]
        broken += [] if others else ["the other host got nothing meanwhile"]
        note = f"away for {HOUR / divisor:.0f} s with waits divided by {divisor:g}; the other host took {others:,}"
        return on.judge(note=note, broken=broken)


def slow(suite: Suite) -> Result:
    """Have a host answer after 19 s, and another one not at all, beside one that is quick."""
    with _hosts(suite, "notify_slow", QUICK, "slow", "hanging", lease=LEASE_FOR_SLOW_HOSTS) as on:
        quick, slow_one, hanging = on.hosts.values()
        slow_one.behave(seconds=SLOW_SECONDS)
        hanging.behave(hangs=True)
        with on.mail(suite.pick(4, 4)):
            time.sleep(suite.pick(50, 180))
            answers = slow_one.taken()
            silences = len(hanging.requests())
            others = len(quick.taken())
        slow_one.behave()
        hanging.behave()
        on.scene.injected = len(answers) + silences
        broken = [] if answers and silences else ["no slow answer and no silence was seen: this proves nothing"]
        broken += [] if others > 2 * on.scene.injected else ["the quick host had to wait for the others"]
        broken += [] if _counted(answers, slow_one.requests()) else ["no answer after 19 s counted"]
        note = f"{len(answers)} answers after {SLOW_SECONDS:g} s, {silences} without one, {others:,} of the quick host"
        return on.judge(note=note, broken=broken)


def _counted(answers: Sequence[Request], requests: Sequence[Request]) -> bool:
    """Tell whether one of the answers was the end of its notification: it did not come again."""
    attempts = Counter(each.id for each in requests)
    return any(attempts[each.id] == 1 for each in answers)


def flapping(suite: Suite) -> Result:
    """Have a host fail three requests of ten, and kill another one again and again."""
    with _hosts(suite, "notify_flapping", "failing", "dying") as on:
        failing, dying = on.hosts.values()
        failing.behave(failing_share=0.3)
        kills = 0
        with on.mail(suite.pick(6, 6)):
            for _ in range(suite.pick(10, 60)):
                time.sleep(2)
                kills += on.scene.platform.kill(dying.name) is not None
        failing.behave()
        refused = sum(not each.is_taken for each in failing.requests())
        on.scene.injected = kills + refused
        broken = [] if kills and refused else ["no kill or no failure was seen: this proves nothing"]
        return on.judge(note=f"{refused} requests failed, {kills} kills of the other host", broken=broken)


def refusing(suite: Suite) -> Result:
    """Have a host answer 410, and another one redirect to an address of this machine; mend both later."""
    with _hosts(suite, "notify_refusing", QUICK, "gone", "redirecting") as on:
        _, gone, redirecting = on.hosts.values()
        gone.behave(status=410)
        redirecting.behave(redirects=True)
        with on.mail(suite.pick(5, 5)):
            expect(lambda: on.held_cause("gone") == "gone", HELD_WITHIN, "a 410 holds the endpoint")
            expect(lambda: on.held_cause("redirecting") == "failures", HELD_WITHIN, "redirects hold the endpoint")
            time.sleep(suite.pick(10, 120))
            asked, redirects = len(gone.requests()), len(redirecting.requests())
            gone.behave()
            redirecting.behave()
            on.scene.mailroom.release(on.endpoint_ids["gone"])
        on.scene.injected = asked + redirects
        broken = [f"an endpoint that is gone was asked {asked} times"] if asked > IN_FLIGHT else []
        return on.judge(note=f"{asked} × 410, {redirects} redirects, none followed", broken=broken)


def ours(suite: Suite) -> Result:
    """Kill workers while they send, or before they write down what they sent; kill PostgreSQL and Redis in between."""
    with _hosts(suite, "notify_kills", "host", "other", workers=2) as on:
        scene, host = on.scene, on.hosts["host"]
        for each in on.hosts.values():
            each.behave(seconds=0.3)
        turns = (_kill_sending, _restart(scene.servers.postgres), _kill_sending, _restart(scene.servers.valkey))
        with on.mail(suite.pick(6, 6)):
            for turn in (*turns, _die_before_settling) * suite.pick(2, 8):
                time.sleep(2)
                turn(scene, host)
                scene.injected += 1
        for each in on.hosts.values():
            each.behave()
        return on.judge(note="workers, PostgreSQL and Redis killed while notifications are sent")


def _kill_sending(scene: Scene, host: HostApplication) -> None:
    """Kill one of the workers while the host holds a request."""
    expect(host.holds_request, BACK_WITHIN, "a request is under way")
    expect(lambda: scene.platform.kill("worker"), BACK_WITHIN, "a worker is killed")


def _die_before_settling(scene: Scene, _: HostApplication) -> None:
    """Have a worker die after the host's answer and before it writes that down: the same is sent again."""
    fired = "failpoint sent_before_settle: kill"
    before = scene.platform.printed("worker", fired)
    scene.platform.crash_at("worker", "sent_before_settle")
    expect(lambda: scene.platform.printed("worker", fired) > before, BACK_WITHIN, "a worker dies after it has sent")
    scene.platform.crash_at("worker", "")


def _restart(server: Server) -> Callable[[Scene, HostApplication], None]:
    def restart(_: Scene, __: HostApplication) -> None:
        server.kill()
        time.sleep(2)
        server.start()

    return restart


RUNS = (
    Run(
        name="notify_away",
        promise="a host away for an hour: every notification is taken later, and another host gets its own at once",
        do=away,
    ),
    Run(
        name="notify_slow",
        promise="a host that takes 19 s and one that never answers: both get all once they are well, others at once",
        do=slow,
    ),
    Run(
        name="notify_flapping",
        promise="a host that fails three requests of ten, and one that is killed again and again: both get all",
        do=flapping,
    ),
    Run(
        name="notify_refusing",
        promise="410 and redirects to a private address: nothing is followed or dropped, a release sends all",
        do=refusing,
        in_ci=True,
    ),
    Run(
        name="notify_kills",
        promise="workers killed while they send, PostgreSQL and Redis killed: all is taken, again only under its id",
        do=ours,
    ),
)
