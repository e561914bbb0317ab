"""Notifications with real workers and a real sweeper, which are killed, and hosts that are slow or away."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared import queue
from tests.integration.crashes.deployment import Deployment, wait_until
from tests.integration.host.delivering import COMPANY, HostApplication, Mailroom
from tests.integration.pipeline.harness import TO_NORA


class HostDeployment(Deployment):
    """A deployment whose harness has endpoints."""

    harness: Mailroom


@pytest.fixture
def deployment(mailroom: Mailroom, tmp_path: Path) -> Iterator[HostDeployment]:
    """A deployment that may send to loopback addresses; a test starts its processes."""
    deployment = HostDeployment(
        mailroom, tmp_path, ENDPOINT_NETWORKS="127.0.0.0/8", SECRET_KEY="a key for the links to files in the tests"
    )
    try:
        yield deployment
    finally:
        deployment.close()


@pytest.mark.parametrize("moment", ["before the answer", "after the answer"])
def test_a_worker_that_is_killed_while_it_sends_loses_nothing(
    deployment: HostDeployment, host: HostApplication, moment: str
) -> None:
    mailroom = deployment.harness
    mailroom.connect(action="none")
    mailroom.add_endpoint(host)
    mailroom.receive_mail()
    [task_id] = mailroom.queued()
    if moment == "before the answer":
        host.behave(delay=15)
    dying = deployment.worker(
        consumes="dying", crash_at="sent_before_settle:kill" if moment == "after the answer" else ""
    )
    deployment.send_message(queue.NOTIFY, task_id, consumes="dying")
    wait_until(lambda: bool(host.received()), "the host got it")
    if moment == "before the answer":
        dying.process.kill()
        host.behave(delay=0)
    dying.wait_for_death_by(signal.SIGKILL)
    assert mailroom.tasks() == ["running"]
    deployment.worker()
    deployment.sweeper()
    deployment.settle()
    assert mailroom.tasks() == ["done"]
    first, second = host.received()
    assert first["id"] == second["id"]
    assert (first["verified"], second["verified"]) == ([True], [True])


def test_a_slow_endpoint_delays_neither_front_work_nor_another_endpoint(
    deployment: HostDeployment, host: HostApplication
) -> None:
    mailroom = deployment.harness
    mailroom.connect(action="archive")
    with HostApplication() as slow:
        slow.behave(delay=4)
        mailroom.add_endpoint(host, "quick")
        mailroom.add_endpoint(slow, "slow")
        mailroom.send("inbound_received", COMPANY, count=20, recipients=TO_NORA)
        mailroom.record()
        deployment.worker(slots=8)
        deployment.sweeper()

        def others_are_done() -> bool:
            messages = [each for each in host.received() if each["type"] == "message.received"]
            archived = mailroom.one("SELECT count(*) FROM actions WHERE state = 'confirmed'")
            return len(messages) == 20 and archived == 20

        deployment.wait_until(others_are_done, "the quick endpoint has all, and all conversations are archived")
        finished = sum("ended" in each for each in slow.received())
        assert finished < 20


def test_a_host_that_was_away_gets_everything_once_it_is_back(
    deployment: HostDeployment, host: HostApplication
) -> None:
    mailroom = deployment.harness
    mailroom.connect(action="none")
    mailroom.add_endpoint(host)
    mailroom.receive_mail(5)
    host.stop()
    deployment.worker()
    deployment.sweeper()
    wait_until(lambda: mailroom.one("SELECT max(attempts) FROM tasks WHERE kind = 'notify'") >= 2, "some are tried")
    with HostApplication(host.port) as back:
        back.behave(secrets=[mailroom.secret])

        def all_are_sent() -> bool:
            mailroom.make_due()  # in place of the minutes of the schedule
            return set(mailroom.tasks()) == {"done"}

        deployment.wait_until(all_are_sent, "all are sent")
        received = back.received()
        assert len({each["id"] for each in received}) == 5
        assert all(each["verified"] == [True] for each in received)
