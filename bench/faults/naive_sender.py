"""The control of the notifications: a Celery task with `requests.post` and `autoretry_for` loses what it was given."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from bench.faults import host_verdict
from bench.faults.result import Result
from bench.faults.run import Run
from bench.harness.host_application import HostApplication
from bench.harness.notifications import notification
from bench.harness.platform import Platform, base_environment
from bench.harness.processes import wait_until
from bench.peers.textbook.notifier import POST, celery
from bench.peers.webhook import SLOTS

if TYPE_CHECKING:
    from bench.faults.run import Suite

QUIET = ("--without-gossip", "--without-mingle", "-l", "ERROR")
PER_SECOND = 10
DRAINS_WITHIN = 300.0
EMPTY_POLLS = 3


def naive_sender(suite: Suite) -> Result:
    """Stop the host for half a minute, or for an hour, as for the others: the verdict must see the loss."""
    folder = suite.folder / "notify_control"
    folder.mkdir(parents=True)
    with suite.servers.fresh() as (_, redis_url), Platform(base_environment() | {"REDIS_URL": redis_url}, folder) as on:
        host = HostApplication(on, folder, "host")
        host.start()
        worker = ("-A", "bench.peers.textbook.notifier", "worker", "-P", "threads", "-c", str(SLOTS), *QUIET)
        on.run("worker", [sys.executable, "-m", "celery", *worker])
        sent = _send(redis_url, host, seconds=5)
        assert wait_until(lambda: bool(host.taken()), 60), "the sender sends"
        host.stop()
        sent |= _send(redis_url, host, seconds=suite.pick(30, 180))
        host.start()
        sent |= _send(redis_url, host, seconds=5)
        drained = _drained(suite)
        requests = host.requests()
        problems = on.stop()
    lost = sent - host_verdict.events_taken(requests)
    blind = [] if lost else ["the naive sender lost nothing: this suite cannot see a loss"]
    return Result(
        name="notify_control",
        load=len(sent),
        injected=1,
        lost=len(lost),
        drain_seconds=round(drained, 1),
        note=f"a Celery task with autoretry_for is meant to lose; {host_verdict.taken_again(requests)} came again",
        broken=(*blind, *problems),
    )


def _send(redis_url: str, host: HostApplication, *, seconds: float) -> set[str]:
    """Hand notifications to Celery at a fixed rate; return their events."""
    sent = set()
    with celery(redis_url) as app:
        for _ in range(round(seconds * PER_SECOND)):
            made = notification()
            app.tasks[POST].delay(host.url, made.id, made.body)
            sent.add(made.event)
            time.sleep(1 / PER_SECOND)
    return sent


def _drained(suite: Suite) -> float:
    """Wait until nothing is queued, running or to be retried; return the seconds it took."""
    began, empty = time.monotonic(), 0
    with suite.servers.redis() as client:
        while empty < EMPTY_POLLS:
            assert time.monotonic() - began < DRAINS_WITHIN, "the broker is not empty in time"
            empty = 0 if client.llen("celery") or client.hlen("unacked") else empty + 1
            time.sleep(1)
    return time.monotonic() - began


RUNS = (
    Run(
        name="notify_control",
        promise="a Celery task with requests.post and autoretry_for must lose notifications while a host is away",
        do=naive_sender,
    ),
)
