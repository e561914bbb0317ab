"""Front away, throttling, or cutting its answers off, under mail that does not stop."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

from bench.faults.run import Run
from bench.harness.mailroom import expect

if TYPE_CHECKING:
    from bench.faults.result import Result
    from bench.faults.run import Suite
    from bench.faults.scene import Scene

SETTLES_WITHIN = 300.0
#: What one task may cost Front while it is away: a neutral question and two more tries, every 15 s.
CALLS_A_PROBE = 3
PROBE_SECONDS = 15.0


def throttled(suite: Suite) -> Result:
    """429 in all its forms, each to a company of its own, and one company that Front never throttles."""
    with suite.scene("front_429", companies=6) as scene:
        *throttled, endless, free = scene.companies
        with scene.mail(per_second=suite.pick(30, 60)):
            for seconds in suite.pick([2, 3], [1, 2, 5, 10, 30, 5, 2, 1]):
                for company, said in zip(throttled, _ways_to_say(seconds), strict=True):
                    scene.front.fault(**said, company=company, count=1, seconds=seconds)
                time.sleep(seconds + 2)
            scene.front.fault("429", company=endless, count=1, seconds=3_600, retry_after="1000000000")
            time.sleep(suite.pick(5, 60))
        asked_again = _calls_after_429(scene, endless)
        _an_hour_passes(scene, endless)
        totals = scene.front.totals()
        scene.injected = sum(count for kind, count in totals["faults"].items() if kind.startswith("429"))
        broken = [f"{totals['early']} calls before the time"] if totals["early"] else []
        broken += [f"{asked_again} calls to a company told to wait for ever"] if asked_again else []
        note = f"{totals['early']} early, the free company's p95 {_p95(scene, free):.2f} s"
        return scene.judge(within=SETTLES_WITHIN, note=note, broken=[*broken, *_cost_attempts(scene, most=1)])


def _ways_to_say(seconds: int) -> list[dict[str, Any]]:
    # A date has no parts of a second: one more, so that it is not before the time that the ledger goes by.
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=seconds + 1), usegmt=True)
    return [
        {"kind": "429"},
        {"kind": "429", "retry_after": date},
        {"kind": "429_no_retry_after"},
        {"kind": "429", "retry_after": "-5"},
    ]


def _calls_after_429(scene: Scene, company: str) -> int:
    """The calls that came when those already under way had to be over."""
    calls = [call for call in scene.front.calls() if call["company"] == company]
    told = max((call["at"] for call in calls if call["fault"] == "429"), default=float("inf"))
    return sum(call["at"] > told + 1 for call in calls)


def _an_hour_passes(scene: Scene, company: str) -> None:
    """What keeps a company waiting stands in rows, in Redis and in the workers."""
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
    """From Front's event to its settled action, in seconds."""
    [(seconds,)] = scene.mailroom.rows(
        "SELECT percentile_cont(0.95) WITHIN GROUP (ORDER BY extract(epoch FROM a.settled_at - e.emitted_at))::float8"
        " FROM actions a JOIN events e ON e.id = a.event_id"
        " WHERE e.company_id = %s AND a.settled_at IS NOT NULL AND NOT EXISTS"
        " (SELECT FROM attachments f WHERE f.event_id = e.id)",
        company,
    )
    return float(seconds or 0.0)


def away(suite: Suite, *, seconds: float) -> Result:
    """5xx to everybody for `seconds`: one task at a time asks, and nobody pays for it."""
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
        broken = [f"{len(asked)} calls while Front was known to be away"] if len(asked) > most else []
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
    """Answers that break off: before the effect, after it, in the middle of a file; and conversations that moved."""
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
    """A token that is revoked in the middle of a backlog, and another one some time later."""
    with suite.scene("front_revoked") as scene:
        company = scene.companies[0]
        with scene.mail(per_second=suite.pick(60, 90)):
            for turn in range(suite.pick(2, 20)):
                time.sleep(2)
                scene.front.revoke(company)
                expect(lambda: _cause(scene, company) == "needs_reconnect", 30, "the tenant waits for a new token")
                time.sleep(1)  # those under way
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


RUNS = (
    Run(
        name="front_429",
        promise="429 with a wait in seconds, as a date, missing, negative, endless: no call before the time",
        do=throttled,
    ),
    Run(
        name="front_5xx",
        promise="Front away for everybody, in full for 25 minutes: nothing fails, no attempt is lost",
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
        promise="a token revoked under a backlog: no call with it, nothing fails, a new one releases all",
        do=revoked,
    ),
)
