"""A rig's repairs: asked for, sent by the sweeper, done slice by slice, with what follows from them."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.db import repairs
from shared.queue import REPAIR
from tests.integration.pipeline.rig import NORA, TO_NORA, Rig
from workers.repairing.slice import run_repair

ACME = "cmp_acme"
OPEN = "SELECT count(*)::int FROM repairs WHERE state IN ('waiting', 'running')"


def ago(minutes: float) -> float:
    return time.time() - 60 * minutes


def acme(rig: Rig, **policy: Any) -> int:
    """A tenant with Nora, of which one webhook came already."""
    tenant = rig.tenant(ACME, **policy)
    rig.user(tenant, NORA)
    rig.send("inbound_received", ACME, recipients=TO_NORA, emitted_at=ago(59), expect="archived")
    rig.record()
    rig.work()
    return tenant


def mail(rig: Rig, **order: Any) -> list[dict[str, Any]]:
    """Mail to Nora ten minutes ago."""
    usual = {"recipients": TO_NORA, "emitted_at": ago(10), "expect": "archived"}
    return rig.send("inbound_received", ACME, **{**usual, **order})


def ask(rig: Rig, *tenants: int, hours: float = 1.0, dry_run: bool = False) -> None:
    since = datetime.now(UTC) - timedelta(hours=hours)
    rig.resources.pool.run(
        lambda conn: repairs.request_repairs(conn, tenants, since=since, dry_run=dry_run, who="a person")
    )


def one_slice(rig: Rig) -> int:
    """Have the sweeper send what is due and do it; how many slices."""
    rig.sweep("repair")
    todo = [args for name, args in rig.messages.sent if name == REPAIR]
    rig.messages.sent = [message for message in rig.messages.sent if message[0] != REPAIR]
    for (repair_id,) in todo:
        run_repair(rig.resources, repair_id)
    return len(todo)


def follow(rig: Rig, *, most: int = 100) -> None:
    """Slices and the work that follows, until no repair is open."""
    for _ in range(most):
        one_slice(rig)
        rig.record()
        rig.work()
        if not rig.one(OPEN):
            return
        rig.sql("UPDATE repairs SET due_at = now() WHERE state = 'waiting'")
    raise AssertionError(f"the repair does not end: {rig.sql('SELECT * FROM repairs')}")


def outcome(rig: Rig) -> list[tuple[Any, ...]]:
    return rig.sql("SELECT state, seen, known, missing, fed FROM repairs ORDER BY id")


def verdict(rig: Rig) -> dict[str, int]:
    judged = rig.control("verdict")
    return {name: judged[name] for name in ("lost", "unserved", "double", "ghost", "wrong_token")}


CLEAN = {"lost": 0, "unserved": 0, "double": 0, "ghost": 0, "wrong_token": 0}
