"""Faults of Front: outages, throttling, broken answers, revoked tokens, and webhooks that it never sent."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

from bench.faults.run import Run
from bench.harness.mail import order
from bench.harness.platform import ROOT
from bench.harness.processes import expect, wait_until

if TYPE_CHECKING:
    from bench.faults.result import Result
    from bench.faults.run import Suite
    from bench.faults.scene import Scene

SETTLES_WITHIN = 300.0
#: Calls of one task during an outage: a neutral request and two retries, every 15 s.
CALLS_A_PROBE = 3
PROBE_SECONDS = 15.0
#: Share of the webhooks that Front never sends.
DROPPED = 0.3
#: Old enough for a repair, and younger than the tenants' connection.
MINUTES_AGO = 30.0


def throttled(suite: Suite) -> Result:
    """Answer 429 in all its forms, each to its own company, and never to one company."""
    with suite.scene("front_429", companies=6) as scene:
        *throttled, endless, free = scene.companies
        with scene.mail(per_second=suite.pick(30, 60)):
            for seconds in suite.pick([2, 3], [1, 2, 5, 10, 30, 5, 2, 1]):
                for company, form in zip(throttled, _forms_of_429(seconds), strict=True):
                    scene.front.fault(**form, company=company, count=1, seconds=seconds)
                time.sleep(seconds + 2)
            scene.front.fault("429", company=endless, count=1, seconds=3_600, retry_after="1000000000")
            time.sleep(suite.pick(5, 60))
        asked_again = _calls_after_429(scene, endless)
        _an_hour_passes(scene, endless)
        totals = scene.front.totals()
        scene.injected = sum(count for kind, count in totals["faults"].items() if kind.startswith("429"))
        broken = [f"{totals['early']} calls before the time"] if totals["early"] else []
        broken += [f"{asked_again} calls to a company that must wait forever"] if asked_again else []
        note = f"{totals['early']} early, the free company's p95 {_p95(scene, free):.2f} s"
        return scene.judge(within=SETTLES_WITHIN, note=note, broken=[*broken, *_cost_attempts(scene, most=1)])


def _forms_of_429(seconds: int) -> list[dict[str, Any]]:
    # A date has whole seconds. One more keeps it from being earlier than the ledger's time.
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=seconds + 1), usegmt=True)
    return [
        {"kind": "429"},
        {"kind": "429", "retry_after": date},
        {"kind": "429_no_retry_after"},
        {"kind": "429", "retry_after": "-5"},
    ]


def _calls_after_429(scene: Scene, company: str) -> int:
    """Count the calls after the 429, without those already under way."""
    calls = [call for call in scene.front.calls() if call["company"] == company]
    refused_at = max((call["at"] for call in calls if call["fault"] == "429"), default=float("inf"))
    return sum(call["at"] > refused_at + 1 for call in calls)


def _an_hour_passes(scene: Scene, company: str) -> None:
    """Undo the wait of a company, which is kept in rows, in Redis and in the workers."""
    with scene.mailroom.redis() as client:
        client.delete(f"mailroom:front:pause:{company}")
    scene.platform.restart("worker")
    [(tenant_id,)] = scene.mailroom.rows(
        "UPDATE tenants SET not_before = now() WHERE company_id = %s RETURNING id", company
    )
    scene.mailroom.rows(
        "UPDATE tasks SET due_at = now() WHERE tenant_id = %s AND state = 'ready' AND due_at < 'infinity' RETURNING id",
        tenant_id,
    )


def _p95(scene: Scene, company: str) -> float:
    """Return the 95th percentile from Front's event to its settled action, in seconds."""
    [(seconds,)] = scene.mailroom.rows(
        "SELECT percentile_cont(0.95) WITHIN GROUP (ORDER BY extract(epoch FROM a.settled_at - e.emitted_at))::float8"
        " FROM actions a JOIN events e ON e.id = a.event_id"
        " WHERE e.company_id = %s AND a.settled_at IS NOT NULL AND NOT EXISTS"
        " (SELECT FROM attachments f WHERE f.event_id = e.id)",
        company,
    )
    return float(seconds or 0.0)


def away(suite: Suite, *, seconds: float) -> Result:
    """Answer 5xx to all calls for `seconds`: one task at a time asks, and no attempt is counted."""
    with suite.scene("front_5xx") as scene:
        with scene.mail(per_second=suite.pick(20, 5)):
            time.sleep(2)
            scene.front.fault("503")
            expect(lambda: bool(_outages(scene)), 60, "the outage is known")
            known_at = time.time()
            time.sleep(seconds)
            asked = [call for call in scene.front.calls() if call["at"] > known_at + 1]
            attempts = _cost_attempts(scene, most=3)
            still_known = _outages(scene)
            scene.front.heal()
        scene.injected = sum(scene.front.totals()["faults"].values())
        most = CALLS_A_PROBE * (seconds / PROBE_SECONDS + 1)
        broken = [f"{len(asked)} calls during the known outage"] if len(asked) > most else []
        broken += [] if still_known else ["the outage was forgotten before it was over"]
        failed = scene.mailroom.rows("SELECT count(*) FROM tasks WHERE state = 'failed'")
        broken += [f"{failed[0][0]} tasks failed"] if failed[0][0] else []
        note = f"{len(asked)} calls in {seconds:g} s of a known outage"
        return scene.judge(within=SETTLES_WITHIN + seconds, note=note, broken=[*broken, *attempts])


def _outages(scene: Scene) -> list[tuple[Any, ...]]:
    return scene.mailroom.rows("SELECT what FROM outages")


def _cost_attempts(scene: Scene, *, most: int) -> list[str]:
    [(attempts,)] = scene.mailroom.rows("SELECT coalesce(max(attempts), 0) FROM tasks")
    return [f"a task was charged {attempts} attempts"] if attempts > most else []


def cut_off(suite: Suite) -> Result:
    """Break answers off before the effect, after it and within a file, and move conversations."""
    with suite.scene("front_resets") as scene:
        scene.front.fault("reset_after", method="PATCH", rate=0.2)
        scene.front.fault("reset_before", rate=0.1)
        scene.front.fault("merged_301", rate=0.1)
        scene.front.fault("cut_body", path_regex="^/download/", rate=0.3)
        with scene.mail(per_second=30, files_each=2):
            time.sleep(suite.pick(8, 120))
        scene.front.heal()
        scene.injected = sum(scene.front.totals()["faults"].values())
        return scene.judge(within=SETTLES_WITHIN, note=_kinds(scene))


def _kinds(scene: Scene) -> str:
    return ", ".join(f"{count} × {kind}" for kind, count in sorted(scene.front.totals()["faults"].items()))


def revoked(suite: Suite) -> Result:
    """Revoke a token under load, and connect another one later."""
    with suite.scene("front_revoked") as scene:
        company = scene.companies[0]
        with scene.mail(per_second=suite.pick(60, 90)):
            for turn in range(suite.pick(2, 20)):
                time.sleep(2)
                scene.front.revoke(company)
                expect(lambda: _cause(scene, company) == "needs_reconnect", 30, "the tenant waits for a new token")
                time.sleep(1)  # for the calls under way
                refused = _refused(scene)
                time.sleep(suite.pick(3, 10))
                late = _refused(scene) - refused
                assert not late, f"{late} calls with a token that is known to be revoked"
                _connect(scene, company, f"token-{turn}")
        scene.injected = _refused(scene)
        note = f"{scene.injected} calls were refused"
        return scene.judge(within=SETTLES_WITHIN, note=note, broken=_cost_attempts(scene, most=1))


def _connect(scene: Scene, company: str, token: str) -> None:
    [(tenant_id,)] = scene.mailroom.rows("SELECT id FROM tenants WHERE company_id = %s", company)
    scene.front.restore(company, token)
    scene.mailroom.reconnect(tenant_id, token)


def _cause(scene: Scene, company: str) -> str | None:
    [(cause,)] = scene.mailroom.rows("SELECT parked_cause FROM tenants WHERE company_id = %s", company)
    return None if cause is None else str(cause)


def _refused(scene: Scene) -> int:
    return sum(call["status"] == 401 for call in scene.front.calls())


def gap(suite: Suite) -> Result:
    """Send only a share of the webhooks, then run a repair under other mail."""
    with suite.scene("gap", REPAIR_MINUTES="0") as scene:
        scene.mailroom.rows("UPDATE tenants SET connected_at = now() - interval '1 hour' RETURNING id")
        for company in scene.companies:
            _mail_with_gaps(scene, company, suite.pick(100, 2_000))
        missing = int(scene.front.verdict()["unserved"])
        scene.injected = missing
        began = time.monotonic()
        with scene.mail(per_second=10):
            repairs = _repair(scene)
        seconds = time.monotonic() - began
        fed = sum(repair["fed"] for repair in repairs)
        note = f"{missing:,} webhooks never sent, {fed:,} found and fed in {seconds:.0f} s beside other mail"
        broken = [] if fed == missing else [f"{fed:,} of {missing:,} missing events were fed"]
        wait_until(lambda: not scene.mailroom.unsettled(), SETTLES_WITHIN, every=0.5)
        if unserved := scene.front.verdict()["unserved"]:
            broken.append(f"nothing came of {unserved:,} events")
        return scene.judge(within=SETTLES_WITHIN, note=note, broken=broken)


def _mail_with_gaps(scene: Scene, company: str, count: int) -> None:
    missed = order(company, count=count, dropped=DROPPED, emitted_at=time.time() - 60 * MINUTES_AGO)
    scene.front.send("inbound_received", company, **missed)


def _repair(scene: Scene) -> list[dict[str, Any]]:
    """Run the repair of all tenants; return the report of each."""
    command = [sys.executable, "-m", "console", "repair", "--since", "2h", "--yes", "--json"]
    done = subprocess.run(
        command, cwd=ROOT, env=scene.mailroom.environment, capture_output=True, text=True, timeout=3_600, check=False
    )
    assert done.returncode == 0, done.stderr
    repairs: list[dict[str, Any]] = json.loads(done.stdout)["repairs"]
    return repairs


RUNS = (
    Run(
        name="front_429",
        promise="429 with a wait in seconds, as a date, missing, negative, endless: no call comes too early",
        do=throttled,
    ),
    Run(
        name="front_5xx",
        promise="an outage of Front, 25 minutes at full size: no task fails, no attempt is counted",
        do=lambda suite: away(suite, seconds=suite.pick(20.0, 1_500.0)),
        in_ci=True,
    ),
    Run(
        name="front_resets",
        promise="answers lost before and after the effect, moved conversations, cut files: each change once",
        do=cut_off,
    ),
    Run(
        name="front_revoked",
        promise="a token revoked under load: no more calls with it, no task fails, a new one releases all",
        do=revoked,
    ),
    Run(
        name="gap",
        promise="30 % of the webhooks are never sent: a repair finds every one, and each is done once",
        do=gap,
    ),
)
