"""A worker dies or freezes with new tokens in its hand: whatever Front does about the old ones, no task is lost."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shared import queue
from tests.integration.crashes.conftest import NORA
from tests.integration.crashes.site import CLEAN, Program, Site
from tests.integration.pipeline.consent import PAST, UNCLAIMED, changes, consent, refreshes
from tests.integration.pipeline.rig import Rig

ACME = "cmp_acme"
EXPIRE = "UPDATE tasks SET lease_until = now() - interval '1 second' WHERE lease_until IS NOT NULL"
TASKS = "SELECT DISTINCT state, attempts FROM tasks"
Sites = Callable[..., Site]


@pytest.fixture
def oauth_site(database: str, redis_db: str, tmp_path: Path) -> Iterator[Sites]:
    """Makes a site whose tenant is connected by OAuth; the argument: whether each refresh token is good once only."""
    made: list[Site] = []

    def make(*, rotates: bool) -> Site:
        site = Site(Rig(database, redis_db, tmp_path / "files", rotate_refresh_tokens=rotates), tmp_path)
        made.append(site)
        site.rig.user(site.rig.tenant(ACME), NORA)
        consent(site.rig, tenant_of(site), ACME)
        return site

    yield make
    for site in made:
        site.close()


def tenant_of(site: Site) -> int:
    return int(site.rig.one("SELECT id FROM tenants"))


def mail(site: Site, count: int) -> list[int]:
    """Recorded tasks that nobody was told of."""
    rig = site.rig
    rig.send("inbound_received", ACME, recipients=[{"handle": NORA, "role": "to"}], count=count, expect="archived")
    rig.record()
    rig.messages.sent.clear()
    rig.sql("UPDATE tasks SET state = 'ready', lease_until = NULL, sends = 0 WHERE state = 'queued'")
    return [task_id for (task_id,) in rig.sql("SELECT id FROM tasks WHERE state = 'ready'")]


def caught(site: Site, how: str) -> Program:
    """A worker that has new tokens and has not stored them."""
    site.rig.sql(PAST)
    [task_id] = mail(site, 1)
    worker = site.worker(consumes="caught", crash_at=f"refreshed_before_commit:{how}")
    site.tell(queue.RUN_TASK, task_id, consumes="caught")
    worker.wait_for(f"failpoint refreshed_before_commit: {how}")
    return worker


def time_passes(site: Site) -> None:
    """The claim and the lease of whoever is gone run out; or wait 20 seconds."""
    site.rig.sql(EXPIRE)
    site.rig.sql(UNCLAIMED)
    site.rig.sweep("take_back")


def test_a_refresh_token_that_is_good_for_more_than_once_costs_one_more_refresh(oauth_site: Sites) -> None:
    site = oauth_site(rotates=False)
    caught(site, "kill").died_of(signal.SIGKILL)
    assert refreshes(site.rig) == [200]
    time_passes(site)
    site.rig.work()
    assert refreshes(site.rig) == [200, 200]
    assert site.rig.sql(TASKS) == [("done", 2)]
    assert site.verdict() == CLEAN


def test_a_refresh_token_that_was_good_once_parks_the_tenant_and_nothing_fails(oauth_site: Sites) -> None:
    site = oauth_site(rotates=True)
    caught(site, "kill").died_of(signal.SIGKILL)
    time_passes(site)
    mail(site, 4)
    site.rig.work()
    assert refreshes(site.rig) == [200, 400]
    assert site.rig.sql("SELECT DISTINCT state FROM tasks") == [("ready",)]
    assert site.rig.sql("SELECT DISTINCT state, cause FROM shown_events") == [("parked", "needs_reconnect")]
    consent(site.rig, tenant_of(site), ACME)
    site.rig.work()
    assert len(changes(site.rig)) == 5
    assert site.verdict() == CLEAN


def test_a_worker_that_was_frozen_with_the_only_good_tokens_releases_the_tenant(oauth_site: Sites) -> None:
    site = oauth_site(rotates=True)
    worker = caught(site, "stop")
    worker.froze()
    time_passes(site)
    site.rig.work()
    assert site.rig.one("SELECT parked_cause FROM tenants") == "needs_reconnect"
    worker.thaw()
    site.until(lambda: site.rig.one("SELECT parked_cause FROM tenants") is None, "the tenant is released")
    worker.wait_for('"event": "fenced"')
    worker.stop()  # it may have sent the task to a queue that nobody reads here
    time_passes(site)
    site.rig.work()
    assert site.settled()
    assert refreshes(site.rig) == [200, 400]
    assert len(changes(site.rig)) == 1
    assert site.verdict() == CLEAN


def refresh_once(site: Site, expire: Callable[[Site], Any], count: int, *, refreshed: int) -> None:
    """Have all workers run so many tasks at once, all with a token that has ended."""
    expire(site)
    for task_id in mail(site, count):
        site.tell(queue.RUN_TASK, task_id, consumes=queue.WORK_QUEUE)
    site.settle()
    assert refreshes(site.rig) == [200] * refreshed


def front_refuses(site: Site) -> None:
    site.rig.control(f"companies/{ACME}/tokens", {"do": "expire"})


def both_know(site: Site) -> None:
    front_refuses(site)
    site.rig.sql(PAST)


@pytest.mark.timeout(240)
def test_many_attempts_of_three_processes_refresh_a_token_that_ended_once(oauth_site: Sites) -> None:
    site = oauth_site(rotates=True)
    workers = [site.worker(slots=8) for _ in range(3)]
    for worker in workers:
        worker.wait_for("ready")
    sweeper = site.sweeper()
    refresh_once(site, front_refuses, 20, refreshed=1)
    refresh_once(site, both_know, 20, refreshed=2)
    assert site.rig.sql(TASKS) == [("done", 1)]
    assert len(changes(site.rig)) == 40
    assert site.verdict() == CLEAN
    assert {program.stop() for program in (*workers, sweeper)} == {None}
    shown = "".join(program.shown for program in (*workers, sweeper))
    assert shown.count("token_refreshed") == 2
