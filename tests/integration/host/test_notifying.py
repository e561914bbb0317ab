"""Notifications reach a host application that runs as a process, once and signed."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest

from console.operations import endpoints as operations
from shared.db.tasks import manual_changes
from tests.integration.host.delivering import ACTOR, HostApplication, Mailroom


def test_a_message_arrives_once_signed_and_with_its_user(mailroom: Mailroom, host: HostApplication) -> None:
    mailroom.connect(action="none")
    mailroom.add_endpoint(host)
    mailroom.receive_mail(subject="Order 4711")
    mailroom.work()
    assert mailroom.notify() == 1
    assert mailroom.notify() == 0
    [got] = host.received()
    assert got["verified"] == [True]
    assert (got["type"], got["subject"], got["attempt"]) == ("message.received", "Order 4711", 1)
    number = mailroom.one("SELECT id FROM notifications WHERE type = 'message.received'")
    assert got["id"] == got["body_id"] == f"msg_{number.hex}"
    assert abs(got["timestamp"] - time.time()) < 60
    assert got["content"]["data"]["front"]["event_id"] == mailroom.one("SELECT front_id FROM events")
    assert got["content"]["data"]["users"] == ["nora@acme.example"]
    assert mailroom.tasks() == ["done"]
    [call] = mailroom.one("SELECT calls FROM attempts JOIN tasks ON tasks.id = task_id WHERE kind = 'notify'")
    assert (call["method"], call["path"], call["status"]) == ("POST", "/hook", 204)


def test_what_was_noted_before_an_endpoint_was_added_is_not_sent_to_it(
    mailroom: Mailroom, host: HostApplication
) -> None:
    mailroom.connect(action="none")
    mailroom.receive_mail()
    mailroom.add_endpoint(host)
    assert mailroom.notify() == 0


def test_an_endpoint_of_a_tenant_gets_that_tenants_types_alone(mailroom: Mailroom, host: HostApplication) -> None:
    mine = mailroom.connect(action="none")
    other = mailroom.tenant("cmp_other", "Other", action="none")
    mailroom.add_endpoint(host, "mine", tenant_id=mine)
    mailroom.add_endpoint(host, "other", tenant_id=other)
    mailroom.add_endpoint(host, "sent", types=["message.sent"])
    mailroom.receive_mail()
    mailroom.notify()
    assert mailroom.sql("SELECT e.name FROM tasks t JOIN endpoints e ON e.id = t.endpoint_id") == [("mine",)]


@pytest.mark.parametrize("table", ["endpoints", "notifications"])
def test_a_task_whose_endpoint_or_notification_is_another_tenants_sends_nothing(
    mailroom: Mailroom, host: HostApplication, table: str
) -> None:
    mailroom.connect(action="none")
    other = mailroom.tenant("cmp_other", "Other")
    mailroom.add_endpoint(host)
    mailroom.receive_mail()
    [task_id] = mailroom.queued()
    mailroom.sql(f"UPDATE {table} SET tenant_id = %s" + ", event_id = NULL" * (table == "notifications"), other)
    mailroom.notify_one(task_id)
    assert host.received() == []


def test_while_a_secret_is_rotated_both_sign(mailroom: Mailroom, host: HostApplication) -> None:
    mailroom.connect(action="none")
    endpoint = mailroom.add_endpoint(host)
    first = mailroom.secret
    run, vault = mailroom.resources.pool.run, mailroom.resources.vault
    second = operations.rotate_secret(run, ACTOR, endpoint.id, vault, overlap=timedelta(hours=1)).secret
    host.behave(secrets=[first, second])
    mailroom.receive_mail()
    mailroom.notify()
    mailroom.sql("UPDATE endpoints SET previous_until = now() - interval '1 second'")
    mailroom.receive_mail()
    mailroom.notify()
    during, after = host.received()
    assert (during["signatures"], during["verified"]) == (2, [True, True])
    assert (after["signatures"], after["verified"]) == (1, [False, True])


def test_a_long_silence_before_the_answer_is_no_failure(mailroom: Mailroom, host: HostApplication) -> None:
    """Calls of Front end after ten silent seconds. A host application has twenty."""
    mailroom.connect(action="none")
    mailroom.add_endpoint(host)
    host.behave(delay=11)
    mailroom.receive_mail()
    [task_id] = mailroom.queued()
    mailroom.notify_one(task_id)
    assert mailroom.tasks() == ["done"]


@pytest.mark.parametrize("part", ["head", "body"])
def test_an_answer_that_drips_in_is_cut_after_the_deadline(
    mailroom: Mailroom, host: HostApplication, part: str
) -> None:
    """The whole answer would take minutes. A 2xx counts once its head is there."""
    mailroom.connect(action="none")
    mailroom.add_endpoint(host)
    mailroom.resources.endpoint_client._answer_seconds = 2.0  # in place of 20
    host.behave(drip=part)
    mailroom.receive_mail()
    [task_id] = mailroom.queued()
    began = time.monotonic()
    mailroom.notify_one(task_id)
    assert time.monotonic() - began < 30
    if part == "body":
        assert mailroom.tasks() == ["done"]
    else:
        assert mailroom.tasks() == ["ready"]
        assert mailroom.tasks("detail") == ["gave no answer in time"]


def test_a_redirect_is_a_failure_with_its_reason_and_is_not_followed(mailroom: Mailroom, host: HostApplication) -> None:
    mailroom.connect(action="none")
    mailroom.add_endpoint(host)
    host.behave(status=302, headers={"Location": f"http://127.0.0.1:{host.port}/elsewhere"})
    mailroom.receive_mail()
    mailroom.notify()
    assert [each["path"] for each in host.received()] == ["/hook"]
    assert mailroom.tasks("code") == ["endpoint_unavailable"]
    [detail] = mailroom.tasks("detail")
    assert "answered 302: redirects are not followed" in detail


def test_a_name_with_a_private_address_is_refused_unless_it_is_listed(
    mailroom: Mailroom, host: HostApplication, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address that was checked is the one that is connected to: a name that changes its address gains nothing."""
    from ipaddress import ip_network

    mailroom.connect(action="none")
    mailroom.add_endpoint(f"http://localhost:{host.port}/hook")
    mailroom.resources.endpoint_client._networks = [ip_network("10.0.0.0/8")]
    mailroom.receive_mail()
    mailroom.notify()
    assert host.received() == []
    [detail] = mailroom.tasks("detail")
    assert "was not asked: its address is not public" in detail


def test_retry_after_delays_the_notification_and_the_endpoint(mailroom: Mailroom, host: HostApplication) -> None:
    mailroom.connect(action="none")
    mailroom.add_endpoint(host)
    host.behave(status=503, headers={"Retry-After": "3600"})
    mailroom.receive_mail()
    [task_id] = mailroom.queued()
    mailroom.notify_one(task_id)
    [(task_waits, endpoint_waits)] = mailroom.sql(
        "SELECT t.due_at > now() + interval '59 minutes', e.not_before > now() + interval '59 minutes'"
        " FROM tasks t JOIN endpoints e ON e.id = t.endpoint_id"
    )
    assert (task_waits, endpoint_waits) == (True, True)
    mailroom.receive_mail()
    assert mailroom.queued() == []


def test_a_gone_endpoint_is_held_until_somebody_releases_it(mailroom: Mailroom, host: HostApplication) -> None:
    mailroom.connect(action="none")
    endpoint = mailroom.add_endpoint(host)
    host.behave(status=410)
    mailroom.receive_mail(2)
    mailroom.notify()
    row = mailroom.endpoint_row()
    assert (row["state"], row["held_cause"], row["probe_at"]) == ("held", "gone", None)
    assert mailroom.tasks("attempts") == [0, 0]
    host.behave(status=200)
    assert mailroom.queued() == []
    operations.release_endpoint(mailroom.resources.pool.run, ACTOR, endpoint.id)
    mailroom.notify()
    assert mailroom.tasks() == ["done", "done"]


def test_an_endpoint_that_asks_for_it_gets_nothing_more(mailroom: Mailroom, host: HostApplication) -> None:
    mailroom.connect(action="none")
    mailroom.add_endpoint(host)
    host.behave(status=200, headers={"webhook-delivery": "disable"})
    mailroom.receive_mail(2)
    mailroom.notify()
    assert mailroom.endpoint_row()["held_cause"] == "disabled"
    assert sorted(mailroom.tasks()) == ["done", "ready"]


def test_one_poisoned_message_fails_alone(mailroom: Mailroom, host: HostApplication) -> None:
    mailroom.connect(action="none")
    mailroom.add_endpoint(host)
    host.behave(refuse=["poison"])
    mailroom.receive_mail(subject="poison")
    mailroom.receive_mail(3, subject="fine")
    for _ in range(4):
        mailroom.notify()
        mailroom.make_due()
    assert mailroom.tasks() == ["failed", "done", "done", "done"]
    assert mailroom.tasks("attempts")[0] == 3
    assert mailroom.tasks("code")[0] == "endpoint_refused"
    assert mailroom.endpoint_row()["state"] == "open"
    assert mailroom.one("SELECT state FROM events WHERE id = (SELECT min(id) FROM events)") == "failed"


def test_a_failed_notification_is_retried_or_discarded_like_other_tasks(
    mailroom: Mailroom, host: HostApplication
) -> None:
    mailroom.connect(action="none")
    mailroom.add_endpoint(host)
    host.behave(refuse=["poison"])
    mailroom.receive_mail(2, subject="poison")
    for _ in range(4):
        mailroom.notify()
        mailroom.make_due()
    assert mailroom.tasks() == ["failed", "failed"]
    first, second = mailroom.tasks("id")
    host.behave(refuse=[])
    run = mailroom.resources.pool.run
    assert run(lambda conn: manual_changes.retry(conn, [first], who="tester")) == [first]
    assert run(lambda conn: manual_changes.discard(conn, [second], who="tester", reason="a test")) == [second]
    mailroom.notify()
    assert mailroom.tasks() == ["done", "discarded"]
    assert mailroom.sql("SELECT DISTINCT state FROM events") == [("done",)]


def test_notifications_of_one_conversation_keep_their_order(mailroom: Mailroom, host: HostApplication) -> None:
    """The first one fails; the later ones of its conversation wait for it, and those of another one do not."""
    mailroom.connect(action="none")
    mailroom.add_endpoint(host)
    host.behave(refuse=["first"])
    [event] = mailroom.receive_mail(subject="first")
    conversation = event["conversation_id"]
    mailroom.receive_mail(conversation=conversation)
    mailroom.receive_mail(subject="of another one")
    mailroom.notify()
    assert [each["subject"] for each in host.received()] == ["first", "of another one"]
    host.behave(refuse=[])
    mailroom.make_due()
    mailroom.notify()
    first, _, again, second = host.received()
    assert [each["conversation"] for each in (first, again, second)] == [conversation] * 3
    assert first["id"] == again["id"] != second["id"]
    assert again["position"] < second["position"]


def test_two_notifications_of_a_conversation_are_never_in_flight_together(
    mailroom: Mailroom, host: HostApplication
) -> None:
    mailroom.connect(action="none")
    mailroom.add_endpoint(host)
    [event] = mailroom.receive_mail()
    mailroom.receive_mail(2, conversation=event["conversation_id"])
    assert len(mailroom.queued()) == 1
    assert mailroom.queued() == []


def test_an_endpoint_has_two_in_flight_at_most(mailroom: Mailroom, host: HostApplication) -> None:
    mailroom.connect(action="none")
    mailroom.add_endpoint(host)
    mailroom.receive_mail(5)
    assert len(mailroom.queued()) == 2
    assert mailroom.queued() == []


def test_a_paused_tenant_and_an_outage_of_front_hold_no_notification_back(
    mailroom: Mailroom, host: HostApplication
) -> None:
    tenant_id = mailroom.connect(action="none")
    mailroom.add_endpoint(host)
    mailroom.receive_mail()
    mailroom.sql(
        "UPDATE tenants SET parked_cause = 'paused', not_before = now() + interval '1 hour' WHERE id = %s", tenant_id
    )
    mailroom.sql(
        "INSERT INTO outages (what, since, code, detail, probe_at) VALUES ('front', now(), 'x', 'x', 'infinity')"
    )
    mailroom.notify()
    assert "message.received" in [each["type"] for each in host.received()]


def test_a_tenant_that_is_erased_is_told_nothing_more(mailroom: Mailroom, host: HostApplication) -> None:
    tenant_id = mailroom.connect(action="none")
    mailroom.add_endpoint(host)
    mailroom.receive_mail()
    [task_id] = mailroom.queued()
    mailroom.sql("UPDATE tenants SET parked_cause = 'erasing' WHERE id = %s", tenant_id)
    mailroom.notify_one(task_id)
    assert host.received() == []
