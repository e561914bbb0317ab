"""An endpoint that fails is held, probed and released; nothing is lost meanwhile, and nothing else waits for it."""

from __future__ import annotations

import pytest

from console.operations import endpoints as operations
from tests.integration.host.delivering import ACTOR, HostApplication, Mailroom


def failing_for(mailroom: Mailroom, minutes: int) -> None:
    """Date the first failure of the row back."""
    mailroom.sql("UPDATE endpoints SET failing_since = now() - make_interval(mins => %s)", minutes)


def probe_is_due(mailroom: Mailroom) -> None:
    """Let the next probe go at once."""
    mailroom.sql("UPDATE endpoints SET probe_at = now(), not_before = now() WHERE state = 'held'")


def fail_until_held(mailroom: Mailroom, host: HostApplication, *, mails: int = 8) -> None:
    """Have so many mails that nobody takes, until the endpoint is held."""
    host.behave(status=500)
    mailroom.receive_mail(mails)
    for _ in range(6):
        mailroom.notify(rounds=1)
        failing_for(mailroom, 3)
        mailroom.make_due()
    assert mailroom.endpoint_row()["held_cause"] == "failures"


def test_a_burst_of_failures_does_not_hold_an_endpoint(mailroom: Mailroom, host: HostApplication) -> None:
    mailroom.connect(action="none")
    mailroom.add_endpoint(host)
    host.behave(status=500)
    mailroom.receive_mail(8)
    mailroom.notify()
    row = mailroom.endpoint_row()
    assert (row["state"], row["failures"]) == ("open", 8)


def test_a_success_ends_the_row_of_failures(mailroom: Mailroom, host: HostApplication) -> None:
    mailroom.connect(action="none")
    mailroom.add_endpoint(host)
    host.behave(status=500)
    mailroom.receive_mail(4)
    mailroom.notify()
    failing_for(mailroom, 60)
    host.behave(status=200)
    mailroom.receive_mail()
    mailroom.notify()
    row = mailroom.endpoint_row()
    assert (row["state"], row["failures"], row["failing_since"]) == ("open", 0, None)


def test_a_failing_endpoint_gets_one_at_a_time_with_pauses(mailroom: Mailroom, host: HostApplication) -> None:
    mailroom.connect(action="none")
    mailroom.add_endpoint(host)
    host.behave(status=500)
    mailroom.receive_mail(5)
    first, second = mailroom.queued()
    mailroom.notify_one(first)
    mailroom.notify_one(second)
    assert mailroom.queued() == []
    mailroom.sql("UPDATE endpoints SET not_before = now()")
    assert len(mailroom.queued()) == 1


def test_after_five_failures_over_two_minutes_it_is_held_and_everything_waits(
    mailroom: Mailroom, host: HostApplication
) -> None:
    mailroom.connect(action="none")
    mailroom.add_endpoint(host)
    fail_until_held(mailroom, host)
    before = len(host.received())
    mailroom.receive_mail(3)
    assert mailroom.queued() == []
    assert len(host.received()) == before
    assert set(mailroom.tasks()) == {"ready"}
    assert mailroom.one("SELECT count(*) FROM notifications WHERE type = 'endpoint.held'") == 1


def test_one_probe_at_a_time_goes_and_is_no_attempt_while_nobody_answers(
    mailroom: Mailroom, host: HostApplication
) -> None:
    mailroom.connect(action="none")
    mailroom.add_endpoint(host)
    fail_until_held(mailroom, host)
    mailroom.receive_mail(3)
    probe_is_due(mailroom)
    [probe] = mailroom.queued()
    assert mailroom.queued() == []
    attempts = mailroom.one("SELECT attempts FROM tasks WHERE id = %s", probe)
    host.stop()
    mailroom.notify_one(probe)
    assert mailroom.one("SELECT attempts FROM tasks WHERE id = %s", probe) == attempts
    assert mailroom.one("SELECT probe_at > now() + interval '20 seconds' FROM endpoints")


def test_a_probe_that_succeeds_releases_it_and_the_oldest_go_first(mailroom: Mailroom, host: HostApplication) -> None:
    mailroom.connect(action="none")
    mailroom.add_endpoint(host)
    fail_until_held(mailroom, host, mails=4)
    mailroom.receive_mail(4)
    host.behave(status=200)
    probe_is_due(mailroom)
    sent_before = len(host.received())
    [probe] = mailroom.queued()
    mailroom.notify_one(probe)
    assert mailroom.endpoint_row()["state"] == "open"
    mailroom.notify()
    assert mailroom.tasks() == ["done"] * 8
    positions = [each["position"] for each in host.received()[sent_before + 1 :]]
    assert positions == sorted(positions)
    assert len({each["id"] for each in host.received()}) == 8


def test_after_a_release_the_rate_is_capped_in_the_beginning(mailroom: Mailroom, host: HostApplication) -> None:
    mailroom.connect(action="none")
    endpoint = mailroom.add_endpoint(host)
    run = mailroom.resources.pool.run
    operations.hold_endpoint(run, ACTOR, endpoint.id)
    mailroom.receive_mail(20)
    operations.release_endpoint(run, ACTOR, endpoint.id)
    assert len(mailroom.queued()) == 2
    assert mailroom.one("SELECT not_before > now() FROM endpoints")
    assert mailroom.one("SELECT not_before < now() + interval '0.2 seconds' FROM endpoints")
    mailroom.sql("UPDATE endpoints SET released_at = now() - interval '5 minutes', not_before = '-infinity'")
    mailroom.sql("UPDATE tasks SET state = 'done' WHERE state = 'queued'")
    assert len(mailroom.queued()) == 2
    assert mailroom.one("SELECT not_before = '-infinity' FROM endpoints")


def test_a_message_that_makes_the_host_fail_does_not_keep_it_held(mailroom: Mailroom, host: HostApplication) -> None:
    """The probes take turns: one that has been tried less often goes first."""
    mailroom.connect(action="none")
    mailroom.add_endpoint(host)
    fail_until_held(mailroom, host, mails=1)
    mailroom.receive_mail()
    mailroom.make_due()
    host.behave(status=200)
    probe_is_due(mailroom)
    [probe] = mailroom.queued()
    assert probe == max(mailroom.tasks("id"))


def test_a_held_endpoint_is_reported_three_times(
    mailroom: Mailroom, host: HostApplication, capsys: pytest.CaptureFixture[str]
) -> None:
    mailroom.connect(action="none")
    mailroom.add_endpoint(host)
    fail_until_held(mailroom, host)
    reports = []
    for hours in (0.1, 0.3, 1, 25, 48, 121, 200):
        mailroom.sql("UPDATE endpoints SET held_at = now() - make_interval(secs => %s)", hours * 3600)
        capsys.readouterr()
        mailroom.sweep("report_held_endpoints")
        reports.append(capsys.readouterr().out.count("endpoint_is_held"))
    assert reports == [0, 1, 0, 1, 0, 1, 0]


def test_a_hold_by_a_person_lasts_until_a_person_ends_it(mailroom: Mailroom, host: HostApplication) -> None:
    mailroom.connect(action="none")
    endpoint = mailroom.add_endpoint(host)
    run = mailroom.resources.pool.run
    operations.hold_endpoint(run, ACTOR, endpoint.id)
    mailroom.receive_mail(2)
    mailroom.sql("UPDATE endpoints SET probe_at = now()")
    assert mailroom.queued() == []
    with pytest.raises(operations.EndpointMovedOn):
        operations.hold_endpoint(run, ACTOR, endpoint.id)
    operations.release_endpoint(run, ACTOR, endpoint.id)
    mailroom.notify()
    assert mailroom.tasks() == ["done", "done"]
    with pytest.raises(operations.EndpointMovedOn):
        operations.release_endpoint(run, ACTOR, endpoint.id)


@pytest.mark.parametrize("held", [False, True])
def test_a_test_is_sent_once_and_at_once_also_while_it_is_held(
    mailroom: Mailroom, host: HostApplication, held: bool
) -> None:
    mailroom.connect(action="none")
    endpoint = mailroom.add_endpoint(host)
    run = mailroom.resources.pool.run
    if held:
        operations.hold_endpoint(run, ACTOR, endpoint.id)
    mailroom.receive_mail(3)
    task_id = operations.test_endpoint(run, ACTOR, endpoint.id)
    assert task_id in mailroom.queued()
    mailroom.notify_one(task_id)
    [ping] = [each for each in host.received() if each["type"] == "ping"]
    assert ping["verified"] == [True]
    assert mailroom.one("SELECT state FROM tasks WHERE id = %s", task_id) == "done"
    assert (mailroom.endpoint_row()["state"] == "held") is held


def test_a_test_that_fails_is_not_tried_again_and_blames_nobody(mailroom: Mailroom, host: HostApplication) -> None:
    endpoint = mailroom.add_endpoint(host)
    host.behave(status=500)
    task_id = operations.test_endpoint(mailroom.resources.pool.run, ACTOR, endpoint.id)
    assert mailroom.notify() == 1
    assert mailroom.sql("SELECT state, code, detail FROM tasks WHERE id = %s", task_id) == [
        ("skipped", "endpoint_unavailable", "answered 500")
    ]
    assert mailroom.endpoint_row()["failures"] == 0


def test_a_slow_endpoint_leaves_slots_to_another_one(mailroom: Mailroom, host: HostApplication) -> None:
    """The harness has no worker, so 16 slots are assumed: 4 for notifications, 2 of these for slow endpoints."""
    mailroom.connect(action="none")
    for name in ("slow 1", "slow 2", "slow 3", "slow 4"):
        mailroom.add_endpoint(host, name)
    mailroom.sql("UPDATE endpoints SET last_seconds = 15")
    mailroom.add_endpoint(host, "quick")
    mailroom.receive_mail(10)
    mailroom.queued()
    in_flight = dict(
        mailroom.sql(
            "SELECT e.name, count(*) FROM tasks t JOIN endpoints e ON e.id = t.endpoint_id"
            " WHERE t.state = 'queued' GROUP BY 1"
        )
    )
    assert sum(count for name, count in in_flight.items() if name.startswith("slow")) == 2
    assert in_flight["quick"] == 2


def test_front_work_is_dispatched_beside_notifications_that_wait(mailroom: Mailroom, host: HostApplication) -> None:
    mailroom.connect(action="archive")
    mailroom.add_endpoint(host)
    mailroom.receive_mail(3)
    assert len(mailroom.queued()) == 2
    mailroom.work()
    assert mailroom.one("SELECT count(*) FROM tasks WHERE kind = 'apply_action' AND state = 'done'") == 3


def test_the_sweeper_sees_that_something_can_be_sent(mailroom: Mailroom, host: HostApplication) -> None:
    from shared.db.tasks.rescue import waiting_work

    mailroom.connect(action="none")
    endpoint = mailroom.add_endpoint(host)
    run = mailroom.resources.pool.run
    assert not run(waiting_work).notify
    mailroom.receive_mail(3)
    assert run(waiting_work).notify
    operations.hold_endpoint(run, ACTOR, endpoint.id)
    assert not run(waiting_work).notify
    operations.release_endpoint(run, ACTOR, endpoint.id)
    mailroom.sql("UPDATE endpoints SET not_before = now() + interval '20 seconds'")
    work = run(waiting_work)
    assert not work.notify
    assert work.next_due_seconds is not None
    assert 10 < work.next_due_seconds < 21


def test_recover_sends_what_ended_again_under_the_same_ids(mailroom: Mailroom, host: HostApplication) -> None:
    from datetime import UTC, datetime, timedelta

    from console.operations import jobs as job_operations
    from shared.db import jobs
    from shared.db.jobs import Plan
    from shared.db.reading.filters import Filter

    mailroom.connect(action="none")
    endpoint = mailroom.add_endpoint(host)
    mailroom.receive_mail(3)
    mailroom.notify()
    run = mailroom.resources.pool.run
    wanted = Filter(endpoint=endpoint.id, since=datetime.now(UTC) - timedelta(hours=1))
    number = job_operations.plan_job(run, ACTOR, wanted, Plan(verb="recover", words="x", requested_by="tester"))
    job_operations.step_job(run, ACTOR, number, "start")
    claimed = run(lambda conn: jobs.claim(conn, number))
    assert claimed
    run(lambda conn: jobs.run_slice(conn, claimed))
    mailroom.notify()
    ids = [each["id"] for each in host.received()]
    assert len(ids) == 6
    assert sorted(ids[:3]) == sorted(ids[3:])


def test_a_removed_endpoint_leaves_nothing_behind(mailroom: Mailroom, host: HostApplication) -> None:
    mailroom.connect(action="none")
    endpoint = mailroom.add_endpoint(host, types=["attachment.stored"])
    assert mailroom.one("SELECT file_types FROM feed_state") == ["attachment.stored"]
    mailroom.receive_mail()
    operations.remove_endpoint(mailroom.resources.pool.run, ACTOR, endpoint.id)
    assert mailroom.one("SELECT count(*) FROM tasks WHERE kind = 'notify'") == 0
    assert mailroom.one("SELECT file_types FROM feed_state") == []
    with pytest.raises(operations.UnknownEndpoint):
        operations.get_endpoint(mailroom.resources.pool.run, ACTOR, endpoint.id)
