"""With `act_after` set to notified, nothing is archived or trashed before the host application took the message."""

from __future__ import annotations

import pytest

from shared.db.tasks import manual_changes
from tests.integration.host.delivering import HostApplication, Mailroom

WITH_FILE = {"attachments": [{"filename": "po.pdf", "size": 1000}]}


def action(mailroom: Mailroom) -> tuple[str, str]:
    """Return the state and the reason of the only action."""
    [row] = mailroom.sql("SELECT state, reason FROM actions")
    return row


@pytest.mark.parametrize("kind", ["archive", "trash"])
@pytest.mark.parametrize("order", [{}, WITH_FILE])
def test_the_action_waits_until_the_host_took_the_message(
    mailroom: Mailroom, host: HostApplication, kind: str, order: dict[str, int]
) -> None:
    mailroom.connect(action=kind, act_after="notified")
    mailroom.add_endpoint(host)
    [event] = mailroom.receive_mail(**order)
    mailroom.work()
    assert mailroom.writes() == []
    mailroom.notify()
    mailroom.work()
    assert mailroom.status(event["conversation_id"]) == {"archive": "archived", "trash": "deleted"}[kind]
    assert mailroom.one("SELECT count(*) FROM counters WHERE name = 'rescued' AND value > 0") == 0


def test_it_waits_for_every_endpoint_and_through_failures(mailroom: Mailroom, host: HostApplication) -> None:
    mailroom.connect(act_after="notified")
    mailroom.add_endpoint(host)
    with HostApplication() as second:
        mailroom.add_endpoint(second, "second")
        second.behave(status=500)
        mailroom.receive_mail()
        mailroom.notify()
        mailroom.work()
        assert mailroom.writes() == []
        second.behave(status=200)
        mailroom.make_due()
        mailroom.work()
        assert mailroom.writes() == []
        assert action(mailroom) == (
            "planned",
            "waits_for_host: 1 endpoint(s) of the host application have not taken the message yet",
        )
        mailroom.notify()
        mailroom.work()
    assert action(mailroom)[0] == "confirmed"


def test_without_an_endpoint_it_waits_and_says_so(mailroom: Mailroom, host: HostApplication) -> None:
    mailroom.connect(act_after="notified")
    mailroom.receive_mail()
    mailroom.work()
    assert "waits_for_host" in action(mailroom)[1]
    mailroom.sql("UPDATE tasks SET due_at = now() WHERE kind = 'apply_action'")
    mailroom.work()
    assert action(mailroom) == (
        "planned",
        "waits_for_host: the message was sent to no endpoint of the host application so far",
    )
    assert mailroom.one("SELECT state FROM events") == "processing"
    mailroom.sweep("release_stranded")
    mailroom.work()
    assert mailroom.writes() == []


@pytest.mark.parametrize("way", ["retry", "discard"])
def test_a_failed_notification_holds_it_until_a_person_decides(
    mailroom: Mailroom, host: HostApplication, way: str
) -> None:
    mailroom.connect(act_after="notified")
    mailroom.add_endpoint(host)
    host.behave(refuse=["message.received"])
    mailroom.receive_mail()
    for _ in range(4):
        mailroom.notify()
        mailroom.make_due()
        mailroom.work()
    [task_id] = mailroom.tasks("id")
    assert mailroom.tasks() == ["failed"]
    assert action(mailroom) == ("planned", "waits_for_host: 1 notification(s) failed; retry or discard their tasks")
    host.behave(refuse=[])
    run = mailroom.resources.pool.run
    if way == "retry":
        run(lambda conn: manual_changes.retry(conn, [task_id], who="tester"))
        mailroom.notify()
    else:
        run(lambda conn: manual_changes.discard(conn, [task_id], who="tester", reason="not needed"))
    mailroom.work()
    assert action(mailroom)[0] == "confirmed"


def test_a_tag_takes_nothing_away_and_waits_for_nobody(mailroom: Mailroom, host: HostApplication) -> None:
    mailroom.connect(action="tag:tag_urgent", act_after="notified")
    mailroom.add_endpoint(host)
    mailroom.receive_mail()
    assert mailroom.one("SELECT due_at <= now() FROM tasks WHERE kind = 'apply_action'")


def test_a_release_that_was_missed_is_made_up_for(mailroom: Mailroom, host: HostApplication) -> None:
    mailroom.connect(act_after="notified")
    mailroom.add_endpoint(host)
    mailroom.receive_mail()
    mailroom.sql("UPDATE tasks SET state = 'done' WHERE kind = 'notify'")  # as no worker would leave it
    mailroom.sweep("release_stranded")
    mailroom.work()
    assert action(mailroom)[0] == "confirmed"


def test_a_tenant_that_does_not_want_it_waits_for_no_endpoint(mailroom: Mailroom, host: HostApplication) -> None:
    mailroom.connect()
    mailroom.add_endpoint(host)
    host.behave(status=500)
    mailroom.receive_mail()
    mailroom.work()
    assert action(mailroom)[0] == "confirmed"
