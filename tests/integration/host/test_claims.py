"""A worker takes several notifications of a quick endpoint at a claim, and they are published without the sweeper."""

from __future__ import annotations

from typing import Any

import pytest

from shared.db.core.pool import Connection
from shared.db.host import due_notifications, notifying, outbox
from shared.db.host.notifying import MOST_AT_ONCE, ClaimedNotification, TakenNotification
from shared.queue import NOTIFY
from tests.integration.host.delivering import COMPANY, HostApplication, Mailroom
from tests.integration.pipeline.harness import TO_NORA

#: The claims of one quick endpoint that may be in flight: a quarter of the slots that are assumed without a worker.
LANES = 4


@pytest.fixture
def quick(mailroom: Mailroom, host: HostApplication) -> Mailroom:
    """Return a Mailroom whose endpoint has answered within 10 ms."""
    mailroom.connect(action="none")
    mailroom.add_endpoint(host)
    mailroom.sql("UPDATE endpoints SET last_seconds = 0.01, last_success_at = now()")
    return mailroom


def claim(mailroom: Mailroom, task_id: int) -> list[ClaimedNotification]:
    return mailroom.resources.pool.run_autocommit(
        lambda conn: notifying.claim(conn, task_id, "test", lease_seconds=120)
    )


def test_a_quick_endpoint_gets_several_at_a_claim_in_their_order(quick: Mailroom, host: HostApplication) -> None:
    quick.receive_mail(LANES + 5)
    first, *others = quick.queued()
    assert len(others) == LANES - 1
    quick.notify_one(first)
    assert quick.tasks() == ["done", *["queued"] * (LANES - 1), *["done"] * 5]
    received = host.received()
    assert [each["position"] for each in received] == sorted(each["position"] for each in received)
    assert all(each["verified"] == [True] for each in received)
    assert quick.sql("SELECT outcome, count(*), count(ended_at) FROM attempts GROUP BY 1") == [("done", 6, 6)]


def test_a_claim_has_a_most_and_counts_as_one_in_flight(quick: Mailroom) -> None:
    quick.receive_mail(LANES + MOST_AT_ONCE + 5)
    first, *_ = quick.queued()
    assert len(claim(quick, first)) == MOST_AT_ONCE
    assert quick.queued() == []
    quick.sql("UPDATE tasks SET state = 'done' WHERE state = 'running'")
    assert len(quick.queued()) == 1


def test_of_a_conversation_one_goes_with_a_claim(quick: Mailroom) -> None:
    [event] = quick.receive_mail()
    quick.receive_mail(3, conversation=event["conversation_id"])
    quick.receive_mail(LANES)
    first, *_ = quick.queued()
    conversations = [each.conversation_id for each in claim(quick, first)]
    assert conversations[0] == event["conversation_id"]
    assert len(conversations) == len(set(conversations)) == 2


@pytest.mark.parametrize(
    "column",
    [
        "last_seconds = NULL",
        "last_seconds = 1",
        "failures = 1",
        "released_at = now()",
        "not_before = now() + interval '1 minute'",
    ],
)
def test_an_endpoint_that_is_not_quick_gets_one_at_a_claim(quick: Mailroom, column: str) -> None:
    quick.receive_mail(LANES + 3)
    first, *_ = quick.queued()
    quick.sql(f"UPDATE endpoints SET {column}")
    assert len(claim(quick, first)) == 1


def test_a_slower_one_gets_fewer(quick: Mailroom) -> None:
    quick.receive_mail(LANES + 5)
    first, *_ = quick.queued()
    quick.sql("UPDATE endpoints SET last_seconds = 0.1")
    assert len(claim(quick, first)) == 2


def test_after_a_failure_the_rest_of_a_claim_goes_back_as_if_nobody_had_it(
    quick: Mailroom, host: HostApplication
) -> None:
    quick.receive_mail(LANES + 1)
    quick.receive_mail(subject="poison")
    quick.receive_mail(3)
    host.behave(refuse=["poison"])
    first, *others = quick.queued()
    quick.notify_one(first)
    assert quick.tasks() == ["done", *["queued"] * (LANES - 1), "done", "ready", *["ready"] * 3]
    assert quick.tasks("attempts")[-4:] == [1, 0, 0, 0]
    assert quick.one("SELECT count(*) FROM attempts") == 3
    assert len(host.received()) == 3
    host.behave(refuse=[])
    for task_id in others:
        quick.notify_one(task_id)
    quick.make_due()
    quick.notify()
    assert set(quick.tasks()) == {"done"}


def test_what_lost_its_lease_is_not_settled_with_the_others(quick: Mailroom) -> None:
    quick.receive_mail(LANES + 2)
    first, *_ = quick.queued()
    claimed = claim(quick, first)
    lost = claimed[1].id
    quick.sql("UPDATE tasks SET lease_epoch = lease_epoch + 1 WHERE id = %s", lost)
    taken = [TakenNotification(claimed=each, call=None, seconds=0.01) for each in claimed]
    settled = quick.resources.pool.run_autocommit(lambda conn: notifying.settle_taken(conn, taken))
    assert settled == {each.id for each in claimed} - {lost}
    assert quick.one("SELECT state FROM tasks WHERE id = %s", lost) == "running"
    assert quick.one("SELECT count(*) FROM attempts WHERE outcome = 'done'") == len(claimed) - 1


def test_a_notification_that_cannot_be_read_fails_alone(quick: Mailroom) -> None:
    quick.receive_mail(LANES + 2)
    first, *others = quick.queued()
    quick.sql(
        "UPDATE deliveries SET body = 'no zlib' WHERE event_id = (SELECT event_id FROM tasks WHERE id = %s)",
        quick.tasks("id")[LANES],
    )
    quick.notify_one(first)
    assert quick.tasks() == ["done", *["queued"] * (LANES - 1), "failed", "queued"]
    for task_id in others:
        quick.notify_one(task_id)
    quick.notify()
    assert sorted(quick.tasks()) == [*["done"] * (LANES + 1), "failed"]


def test_what_is_recorded_goes_to_an_endpoint_without_the_sweeper(mailroom: Mailroom, host: HostApplication) -> None:
    mailroom.connect(action="none")
    mailroom.add_endpoint(host)
    mailroom.publish(at_once=True)
    mailroom.send("inbound_received", COMPANY, recipients=TO_NORA)
    mailroom.record()
    [task_id] = mailroom.taken()
    mailroom.notify_one(task_id)
    assert mailroom.tasks() == ["done"]


def test_a_message_goes_to_an_endpoint_once_its_last_file_is_stored(mailroom: Mailroom, host: HostApplication) -> None:
    mailroom.connect(action="none")
    mailroom.add_endpoint(host)
    mailroom.publish(at_once=True)
    mailroom.send("inbound_received", COMPANY, recipients=TO_NORA, attachments=[{"filename": "a.pdf", "size": 700}])
    mailroom.record()
    assert NOTIFY not in [name for name, _ in mailroom.messages.sent]
    mailroom.resources.dispatcher._published_at = 0.0  # tasks publish a few times a second
    [(_, (task_id,))] = mailroom.messages.sent
    mailroom.run(task_id)
    assert len(mailroom.taken()) == 1


def test_where_there_is_no_endpoint_nothing_is_numbered_at_once(mailroom: Mailroom) -> None:
    mailroom.connect(action="none")
    mailroom.send("inbound_received", COMPANY, recipients=TO_NORA)
    mailroom.record()
    mailroom.resources.dispatcher.publish()
    assert mailroom.one("SELECT count(*) FROM notifications") == 0


def test_who_publishes_sees_what_others_left_to_it_meanwhile(
    mailroom: Mailroom, host: HostApplication, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process finds both locks taken, so it leaves its message to whoever holds them."""
    mailroom.connect(action="none")
    mailroom.add_endpoint(host)
    mailroom.send("inbound_received", COMPANY, recipients=TO_NORA)
    mailroom.record()
    mailroom.publish(at_once=True)
    queue, others = due_notifications.queue, iter(["another mail"])

    def queue_late(conn: Connection, allotted: Any) -> list[int]:
        for subject in others:
            mailroom.send("inbound_received", COMPANY, recipients=TO_NORA, subject=subject)
            mailroom.record()
            assert mailroom.one("SELECT count(*) FROM notifications") == 0
        return queue(conn, allotted)

    monkeypatch.setattr(due_notifications, "queue", queue_late)
    mailroom.resources.dispatcher.publish()
    assert len(mailroom.taken()) == 2
    assert mailroom.one("SELECT count(*) FROM outbox") == 0


def test_two_numberings_at_once_give_each_position_once(mailroom: Mailroom) -> None:
    mailroom.connect(action="none")
    mailroom.send("inbound_received", COMPANY, recipients=TO_NORA, count=2)
    mailroom.record()
    pool = mailroom.resources.pool
    with pool.transaction() as conn:
        assert outbox.number(conn) == 3  # the tenant was connected, and two mails came
        assert pool.run(outbox.number) == 0
    assert mailroom.sql("SELECT position FROM notifications ORDER BY 1") == [(1,), (2,), (3,)]
