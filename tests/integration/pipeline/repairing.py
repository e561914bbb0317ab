"""Helpers of the repair tests: request repairs, run them slice by slice, and record the events they find."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.db import repairs
from shared.queue import REPAIR
from tests.integration.pipeline.harness import NORA, TO_NORA, Harness
from workers.repairing.slice import run_repair

ACME = "cmp_acme"
OPEN = "SELECT count(*)::int FROM repairs WHERE state IN ('waiting', 'running')"


def ago(minutes: float) -> float:
    return time.time() - 60 * minutes


def acme(harness: Harness, **policy: Any) -> int:
    """Add a tenant with the user Nora and one recorded webhook."""
    tenant = harness.tenant(ACME, **policy)
    harness.user(tenant, NORA)
    harness.send("inbound_received", ACME, recipients=TO_NORA, emitted_at=ago(59), expect="archived")
    harness.record()
    harness.work()
    return tenant


def mail(harness: Harness, **order: Any) -> list[dict[str, Any]]:
    """Send mail to Nora, dated ten minutes ago."""
    usual = {"recipients": TO_NORA, "emitted_at": ago(10), "expect": "archived"}
    return harness.send("inbound_received", ACME, **{**usual, **order})


def request_repair(harness: Harness, *tenants: int, hours: float = 1.0, dry_run: bool = False) -> None:
    since = datetime.now(UTC) - timedelta(hours=hours)
    harness.resources.pool.run(
        lambda conn: repairs.request_repairs(conn, tenants, since=since, dry_run=dry_run, who="a person")
    )


def run_slices(harness: Harness) -> int:
    """Run a slice of each due repair, and return how many ran."""
    harness.sweep("repair")
    todo = [args for name, args in harness.messages.sent if name == REPAIR]
    harness.messages.sent = [message for message in harness.messages.sent if message[0] != REPAIR]
    for (repair_id,) in todo:
        run_repair(harness.resources, repair_id)
    return len(todo)


def finish_repairs(harness: Harness, *, most: int = 100) -> None:
    """Run slices and the work that they cause, until no repair is open."""
    for _ in range(most):
        run_slices(harness)
        harness.record()
        harness.work()
        if not harness.one(OPEN):
            return
        harness.sql("UPDATE repairs SET due_at = now() WHERE state = 'waiting'")
    raise AssertionError(f"the repair does not end: {harness.sql('SELECT * FROM repairs')}")


def outcome(harness: Harness) -> list[tuple[Any, ...]]:
    return harness.sql("SELECT state, seen, known, missing, fed FROM repairs ORDER BY id")


def verdict(harness: Harness) -> dict[str, int]:
    judged = harness.control("verdict")
    return {name: judged[name] for name in ("lost", "unserved", "double", "ghost", "wrong_token")}


CLEAN = {"lost": 0, "unserved": 0, "double": 0, "ghost": 0, "wrong_token": 0}
