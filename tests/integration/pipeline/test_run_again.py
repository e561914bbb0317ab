"""An event runs again from a step, and an action is changed before it is tried again: Front has each change once."""

from __future__ import annotations

import zlib
from threading import Thread
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from console.access.actor import Actor, NotAllowed, command_line_actor
from console.operations.events import CannotRunAgain, RunOrder, UnknownEvent, run_again
from console.operations.tasks import ActionEdit, MovedOn, SameAction, UnknownTask, discard_task, edit_action, retry_task
from shared.db.tasks import actions, reruns
from shared.errors import Fenced, InvalidPolicy
from tests.integration.console.api.client import wait_until_blocked
from tests.integration.pipeline.harness import NORA, TO_NORA, Harness
from tests.integration.pipeline.test_actions import action_of, inbound, patches

if TYPE_CHECKING:
    from console.run_again import Step

NINA = command_line_actor("nina")
VIEWER = Actor(name="vera", via="page", verbs=frozenset({"read"}))


@pytest.fixture
def tenant(harness: Harness) -> int:
    tenant = harness.tenant("cmp_acme")
    harness.user(tenant, NORA)
    return tenant


def number_of(harness: Harness, event: dict[str, Any]) -> int:
    return int(harness.one("SELECT id FROM events WHERE front_id = %s", event["event_id"]))


def task_of(harness: Harness, event: dict[str, Any], kind: str = "apply_action") -> int:
    query = "SELECT t.id FROM tasks t JOIN events e ON e.id = t.event_id WHERE e.front_id = %s AND t.kind = %s"
    return int(harness.one(query, event["event_id"], kind))


def again(harness: Harness, event: dict[str, Any], step: Step, *, actor: Actor = NINA, **order: Any) -> None:
    run_again(harness.resources.pool.run, actor, number_of(harness, event), RunOrder(step=step, **order))


def edit(harness: Harness, event: dict[str, Any], action: str, *, actor: Actor = NINA, **shown: Any) -> None:
    task_id = task_of(harness, event)
    edit_action(harness.resources.pool.run, actor, task_id, action=action, edit=ActionEdit(**shown))


def states(harness: Harness, event: dict[str, Any]) -> dict[str, str]:
    rows = harness.sql(
        "SELECT t.kind, t.state FROM tasks t JOIN events e ON e.id = t.event_id WHERE e.front_id = %s ORDER BY t.id",
        event["event_id"],
    )
    return dict(rows)


def reasons(harness: Harness, event: dict[str, Any]) -> list[str]:
    rows = harness.sql("SELECT reason FROM recipients WHERE event_id = %s ORDER BY position", number_of(harness, event))
    return [reason for (reason,) in rows]


def done(harness: Harness, **order: Any) -> dict[str, Any]:
    event = inbound(harness, **order)
    harness.record()
    harness.work()
    return event


# From the record.


def test_recipients_are_matched_with_todays_users_and_a_confirmed_action_is_not_sent_again(
    harness: Harness, tenant: int
) -> None:
    both = [*TO_NORA, {"handle": "new@acme.example", "role": "cc"}]
    event = done(harness, recipients=both, attachment_count=1)
    assert reasons(harness, event)[2] == "no user with new@acme.example"
    harness.user(tenant, "new@acme.example", action="trash")
    again(harness, event, "record")
    harness.work()
    assert reasons(harness, event)[2] == "cc new@acme.example = user new@acme.example, address 1"
    assert states(harness, event) == {"store_attachment": "done", "apply_action": "done", "record": "done"}
    assert action_of(harness, event) == ("confirmed", "applied")
    assert patches(harness) == 1
    assert harness.sql("SELECT state, count(*)::int FROM attachments GROUP BY 1") == [("stored", 1)]
    assert harness.one("SELECT state FROM events") == "done"


def test_mail_that_matched_nobody_is_archived_once_somebody_matches(harness: Harness) -> None:
    tenant = harness.tenant("cmp_acme")
    event = done(harness)
    assert action_of(harness, event) == ("skipped", "nobody_matched")
    harness.user(tenant, NORA)
    again(harness, event, "record")
    harness.work()
    assert action_of(harness, event) == ("confirmed", "applied")
    assert patches(harness) == 1
    again(harness, event, "record")
    harness.work()
    assert patches(harness) == 1


@pytest.mark.parametrize("files", [0, 1])
def test_a_message_is_announced_again_only_when_it_is_for_other_users(harness: Harness, files: int) -> None:
    tenant = harness.tenant("cmp_acme")
    event = done(harness, attachment_count=files)

    def announced() -> list[str]:
        rows = harness.sql("SELECT type FROM outbox WHERE type LIKE 'message.%%' ORDER BY id")
        return [kind for (kind,) in rows]

    assert announced() == ["message.unmatched"]
    again(harness, event, "record")
    harness.work()
    assert announced() == ["message.unmatched"]
    harness.user(tenant, NORA)
    for _ in range(2):
        again(harness, event, "record")
        harness.work()
        assert announced() == ["message.unmatched", "message.received"]


def test_the_action_of_a_policy_that_was_changed_takes_the_place_of_one_that_failed(
    harness: Harness, tenant: int
) -> None:
    harness.sql("UPDATE tenants SET action = 'tag:tag_gone' WHERE id = %s", tenant)
    event = done(harness)
    assert (action_of(harness, event)[0], patches(harness)) == ("failed", 0)
    harness.sql("UPDATE tenants SET action = 'archive' WHERE id = %s", tenant)
    again(harness, event, "record")
    harness.work()
    assert action_of(harness, event) == ("confirmed", "applied")
    assert harness.status(event["conversation_id"]) == "archived"
    harness.sql("UPDATE tenants SET action = 'none' WHERE id = %s", tenant)
    again(harness, event, "record")
    harness.work()
    assert action_of(harness, event) == ("confirmed", "applied")


def test_a_failed_action_ends_where_todays_policy_asks_for_none(harness: Harness, tenant: int) -> None:
    harness.sql("UPDATE tenants SET action = 'tag:tag_gone' WHERE id = %s", tenant)
    event = done(harness)
    harness.sql("UPDATE tenants SET action = 'none' WHERE id = %s", tenant)
    again(harness, event, "record")
    harness.work()
    assert action_of(harness, event) == ("skipped", "no_action")
    assert states(harness, event) == {"apply_action": "skipped", "record": "done"}
    assert harness.one("SELECT state FROM events") == "done"


@pytest.mark.usefixtures("tenant")
def test_an_action_waits_until_its_event_is_recorded_again(harness: Harness) -> None:
    harness.control("faults", {"kind": "404_heals", "path_regex": "/download/", "count": 1000})
    event = inbound(harness, attachment_count=1)
    harness.record()
    harness.work()
    again(harness, event, "record")
    harness.sql("UPDATE tasks SET due_at = now() + interval '1 hour' WHERE kind <> 'apply_action'")
    harness.sql("UPDATE attachments SET state = 'stored', stored_at = now()")
    harness.sql("UPDATE tasks SET due_at = now() WHERE kind = 'apply_action'")
    harness.work()
    assert action_of(harness, event) == ("planned", "waits for 1 file(s) of the conversation to be stored")
    assert patches(harness) == 0
    harness.clear_faults()
    harness.make_due()
    harness.work()
    assert (action_of(harness, event)[0], patches(harness)) == ("confirmed", 1)


@pytest.mark.usefixtures("tenant")
def test_a_body_that_reads_as_another_event_or_is_gone_fails_visibly(harness: Harness) -> None:
    event, other = done(harness), done(harness)
    swap = "UPDATE deliveries SET body = (SELECT body FROM deliveries WHERE event_id = %s) WHERE event_id = %s"
    number = number_of(harness, event)
    again(harness, event, "record")
    harness.sql(swap, number_of(harness, other), number)
    harness.work()
    assert harness.sql("SELECT state, code FROM tasks WHERE kind = 'record'") == [("failed", "malformed_envelope")]
    harness.sql("UPDATE deliveries SET body = NULL WHERE event_id = %s", number)
    retry_task(harness.resources.pool.run, NINA, task_of(harness, event, "record"))
    harness.work()
    assert harness.sql("SELECT state, code FROM tasks WHERE kind = 'record'") == [("failed", "body_gone")]
    with pytest.raises(CannotRunAgain, match="no longer stored"):
        again(harness, event, "record")
    query = "SELECT waiting, failed, discarded FROM unstored_files(%s, %s)"
    place = harness.sql("SELECT tenant_id, conversation_id FROM events WHERE id = %s", number)[0]
    assert harness.sql(query, *place) == [(0, 1, 0)]
    discard_task(harness.resources.pool.run, NINA, task_of(harness, event, "record"), reason="a test")
    assert harness.sql(query, *place) == [(0, 0, 0)]
    assert (action_of(harness, event)[0], patches(harness)) == ("confirmed", 2)


def test_an_action_that_front_was_seen_to_have_is_not_planned_anew(harness: Harness, tenant: int) -> None:
    event = inbound(harness)
    harness.record()
    harness.sql("UPDATE actions SET emitted_at = now() - interval '1 hour'")
    harness.control(f"conversations/{event['conversation_id']}/act", {"do": "archive", "by": "teammate"})
    harness.work()
    assert action_of(harness, event) == ("confirmed", "seen")
    assert harness.one("SELECT intent_at FROM actions") is None
    harness.sql("UPDATE tenants SET action = 'trash' WHERE id = %s", tenant)
    again(harness, event, "record")
    harness.work()
    assert (action_of(harness, event), patches(harness)) == (("confirmed", "seen"), 0)


@pytest.mark.usefixtures("tenant")
def test_a_file_that_is_being_stored_is_left_to_its_attempt(harness: Harness) -> None:
    event = inbound(harness, attachment_count=1)
    harness.record()
    again(harness, event, "record")
    assert harness.claim(task_of(harness, event, "store_attachment"))
    harness.run(task_of(harness, event, "record"))
    assert states(harness, event) == {"store_attachment": "running", "apply_action": "ready", "record": "done"}
    assert harness.one("SELECT count(*)::int FROM tasks WHERE kind = 'apply_action' AND due_at = 'infinity'") == 1


# From the message, a file, and the action.


@pytest.mark.usefixtures("tenant")
def test_a_message_is_fetched_again_and_its_rows_are_not_doubled(harness: Harness) -> None:
    event = done(harness, fault="preview", attachment_count=2)
    assert action_of(harness, event) == ("confirmed", "applied")
    again(harness, event, "fetch_message")
    harness.work()
    again(harness, event, "record")
    harness.work()
    assert harness.sql("SELECT kind, state, count(*)::int FROM tasks GROUP BY 1, 2 ORDER BY 1") == [
        ("apply_action", "done", 1),
        ("fetch_message", "done", 1),
        ("record", "done", 1),
        ("store_attachment", "done", 2),
    ]
    assert harness.sql("SELECT count(*)::int FROM attachments WHERE state = 'stored'") == [(2,)]
    assert len(reasons(harness, event)) == len(TO_NORA)
    assert patches(harness) == 1


@pytest.mark.usefixtures("tenant")
def test_a_failed_file_is_stored_and_releases_the_action(harness: Harness) -> None:
    harness.control("faults", {"kind": "redirect_offsite", "path_regex": "/download/"})
    event = done(harness, attachment_count=2)
    assert states(harness, event)["store_attachment"] == "failed"
    harness.clear_faults()
    files = [name for (name,) in harness.sql("SELECT front_id FROM attachments ORDER BY id")]
    again(harness, event, "store_attachment", file=files[0])
    harness.work()
    assert [row[0] for row in harness.sql("SELECT state FROM attachments ORDER BY id")] == ["stored", "failed"]
    assert (action_of(harness, event)[0], patches(harness)) == ("planned", 0)
    again(harness, event, "store_attachment", file=files[1])
    harness.work()
    assert (action_of(harness, event)[0], patches(harness)) == ("confirmed", 1)


@pytest.mark.usefixtures("tenant")
def test_a_stored_file_stays_stored_when_front_no_longer_has_it(harness: Harness) -> None:
    event = done(harness, attachment_count=1)
    before = harness.sql("SELECT state, size, sha256, path FROM attachments")
    harness.control("faults", {"kind": "redirect_offsite", "path_regex": "/download/"})
    again(harness, event, "store_attachment")
    assert harness.one("SELECT state FROM attachments") == "waiting"
    harness.work()
    assert harness.sql("SELECT state, size, sha256, path FROM attachments") == before
    assert states(harness, event)["store_attachment"] == "failed"
    harness.clear_faults()
    retry_task(harness.resources.pool.run, NINA, task_of(harness, event, "store_attachment"))
    harness.work()
    assert states(harness, event)["store_attachment"] == "done"
    assert patches(harness) == 1


@pytest.mark.usefixtures("tenant")
@pytest.mark.parametrize("arrived", [True, False])
@pytest.mark.parametrize("step", ["record", "apply_action"])
def test_an_unclear_change_is_looked_up_before_it_is_sent_again(harness: Harness, arrived: bool, step: Step) -> None:
    event = inbound(harness)
    kind = "reset_after" if arrived else "reset_before"
    harness.control("faults", {"kind": kind, "method": "PATCH", "count": 1})
    harness.record()
    harness.work()
    assert action_of(harness, event)[0] == "intent"
    again(harness, event, step)
    harness.make_due()
    harness.work()
    assert action_of(harness, event) == ("confirmed", "seen" if arrived else "applied")
    assert harness.control("verdict")["double"] == 0
    assert harness.status(event["conversation_id"]) == "archived"


@pytest.mark.usefixtures("tenant")
def test_a_discarded_action_is_decided_again(harness: Harness) -> None:
    event = inbound(harness)
    harness.record()
    harness.sql("UPDATE tasks SET state = 'discarded'; UPDATE actions SET state = 'discarded', settled_at = now()")
    again(harness, event, "apply_action")
    harness.work()
    assert (action_of(harness, event), patches(harness)) == (("confirmed", "applied"), 1)
    with pytest.raises(CannotRunAgain, match="never sent twice"):
        again(harness, event, "apply_action")


# Beside a running attempt, and for whom.


@pytest.mark.usefixtures("tenant")
def test_nothing_is_begun_again_beside_a_running_attempt(harness: Harness) -> None:
    event = inbound(harness)
    harness.record()
    task_id = task_of(harness, event)
    assert harness.claim(task_id)
    for step in ("record", "apply_action"):
        with pytest.raises(CannotRunAgain, match=f"task {task_id} .apply_action. runs right now") as refusal:
            again(harness, event, step)
        assert {run.step for run in refusal.value.possible_changes} >= {"record", "apply_action"}
    with pytest.raises(MovedOn, match="it is running"):
        edit(harness, event, "trash")
    assert harness.sql("SELECT state, lease_epoch FROM tasks") == [("running", 1)]


@pytest.mark.usefixtures("tenant")
def test_an_attempt_that_lost_its_lease_writes_nothing_after_an_edit(harness: Harness) -> None:
    event = inbound(harness)
    harness.record()
    lost = harness.claim(task_of(harness, event))
    assert lost
    harness.sql("UPDATE tasks SET lease_until = now() - interval '1 second'")
    harness.sweep("take_back")
    edit(harness, event, "trash", was="archive")
    with pytest.raises(Fenced):
        harness.resources.pool.run(lambda conn: actions.lock_action(conn, lost, changes=(), api_sources=()))
    harness.work()
    assert action_of(harness, event) == ("confirmed", "applied")
    assert harness.status(event["conversation_id"]) == "deleted"
    assert patches(harness) == 1


@pytest.mark.usefixtures("tenant")
def test_a_worker_that_claims_meanwhile_waits_and_applies_what_was_chosen(harness: Harness, database: str) -> None:
    event = inbound(harness)
    harness.record()
    worker = Thread(target=harness.run, args=(task_of(harness, event),))
    with psycopg.connect(database) as conn:
        reruns.lock_event(conn, number_of(harness, event))
        worker.start()
        wait_until_blocked(conn)
        assert reruns.change_action(conn, number_of(harness, event), "trash", was="archive")
    worker.join(60)
    assert (action_of(harness, event)[0], harness.status(event["conversation_id"])) == ("confirmed", "deleted")
    assert patches(harness) == 1


@pytest.mark.usefixtures("tenant")
def test_a_page_that_is_no_longer_true_runs_nothing(harness: Harness) -> None:
    event = done(harness)
    with pytest.raises(CannotRunAgain, match="changed meanwhile"):
        again(harness, event, "record", version="0" * 16)
    with pytest.raises(CannotRunAgain, match="no file fil_none"):
        again(harness, event, "store_attachment", file="fil_none")
    with pytest.raises(UnknownEvent):
        run_again(harness.resources.pool.run, NINA, 99, RunOrder(step="record"))
    assert harness.sql("SELECT count(*)::int FROM journal WHERE what = 'run_again'") == [(0,)]


@pytest.mark.usefixtures("tenant")
def test_who_asked_is_in_the_audit_and_in_the_journal(harness: Harness) -> None:
    event = done(harness)
    number = number_of(harness, event)
    with pytest.raises(NotAllowed):
        again(harness, event, "record", actor=VIEWER)
    with pytest.raises(NotAllowed):
        edit(harness, event, "trash", actor=VIEWER)
    again(harness, event, "record")
    rows = harness.sql("SELECT who, verb, target, allowed, after FROM audit ORDER BY id")
    assert rows == [
        ("vera", "run_again", f"event {number}", False, None),
        ("vera", "edit_action", f"task {task_of(harness, event)}", False, None),
        ("nina", "run_again", f"event {number}", True, {"from": "record"}),
    ]
    assert harness.sql("SELECT what, who, detail FROM journal") == [("run_again", "nina", "from record")]


def test_an_event_of_another_tenant_is_unknown(harness: Harness, tenant: int) -> None:
    event = done(harness)
    other = Actor(name="token", via="api", verbs=NINA.verbs, tenant_id=tenant + 1)
    with pytest.raises(UnknownEvent):
        again(harness, event, "record", actor=other)
    with pytest.raises(UnknownTask):
        edit(harness, event, "trash", actor=other)


# Another action.


def test_a_failed_action_is_changed_and_applied(harness: Harness, tenant: int) -> None:
    harness.sql("UPDATE tenants SET action = 'tag:tag_gone' WHERE id = %s", tenant)
    event = done(harness)
    assert states(harness, event) == {"apply_action": "failed"}
    edit(harness, event, "archive", was="tag:tag_gone", attempts=1)
    assert harness.sql("SELECT state, attempts FROM tasks") == [("ready", 0)]
    harness.work()
    assert action_of(harness, event) == ("confirmed", "applied")
    assert harness.status(event["conversation_id"]) == "archived"
    [(before, after)] = harness.sql("SELECT before, after FROM audit")
    assert (before, after) == ({"action": "tag:tag_gone", "state": "failed"}, {"action": "archive"})
    [(what, who, detail)] = harness.sql("SELECT what, who, detail FROM journal")
    assert (what, who) == ("action_changed", "nina")
    assert detail.endswith("archive instead of tag:tag_gone")


@pytest.mark.usefixtures("tenant")
def test_an_action_that_waits_may_become_none(harness: Harness) -> None:
    harness.control("faults", {"kind": "404_heals", "path_regex": "/download/", "count": 1000})
    event = done(harness, attachment_count=1)
    edit(harness, event, "none")
    harness.clear_faults()
    harness.make_due()
    harness.work()
    assert action_of(harness, event) == ("skipped", "no_action")
    assert states(harness, event) == {"store_attachment": "done", "apply_action": "skipped"}
    assert (patches(harness), harness.one("SELECT state FROM events")) == (0, "done")


@pytest.mark.usefixtures("tenant")
def test_trash_in_place_of_archive_still_waits_for_every_file(harness: Harness) -> None:
    harness.sql("UPDATE tenants SET wait_for = 'settled'")
    harness.control("faults", {"kind": "404_heals", "path_regex": "/download/", "count": 1000})
    event = done(harness, attachment_count=1)
    edit(harness, event, "trash")
    harness.work()
    assert (action_of(harness, event)[0], patches(harness)) == ("planned", 0)
    harness.clear_faults()
    harness.make_due()
    harness.work()
    assert harness.status(event["conversation_id"]) == "deleted"


@pytest.mark.usefixtures("tenant")
def test_an_action_that_front_has_or_may_have_is_not_changed(harness: Harness) -> None:
    confirmed = done(harness)
    with pytest.raises(MovedOn, match="Front has the change"):
        edit(harness, confirmed, "trash")
    unclear = inbound(harness)
    harness.control("faults", {"kind": "reset_after", "method": "PATCH", "count": 1})
    harness.record()
    harness.work()
    for state in ("intent", "failed"):
        harness.sql("UPDATE actions SET state = %s WHERE event_id = %s", state, number_of(harness, unclear))
        with pytest.raises(MovedOn, match="nobody knows whether Front has the change"):
            edit(harness, unclear, "trash")
    assert harness.sql("SELECT DISTINCT kind FROM actions") == [("archive",)]


@pytest.mark.usefixtures("tenant")
def test_a_wrong_or_an_old_edit_changes_nothing(harness: Harness) -> None:
    event = inbound(harness)
    harness.record()
    with pytest.raises(InvalidPolicy):
        edit(harness, event, "mark_read")
    with pytest.raises(SameAction):
        edit(harness, event, "archive")
    with pytest.raises(MovedOn, match="is archive now"):
        edit(harness, event, "trash", was="tag:tag_1")
    with pytest.raises(MovedOn, match="tried again meanwhile"):
        edit(harness, event, "trash", attempts=3)
    harness.sql("UPDATE actions SET undo_asked_at = now()")
    with pytest.raises(MovedOn, match="undo"):
        edit(harness, event, "trash")
    assert harness.sql("SELECT kind, state FROM actions") == [("archive", "planned")]
    assert harness.sql("SELECT count(*)::int FROM audit WHERE allowed") == [(0,)]


@pytest.mark.usefixtures("tenant")
def test_the_worker_and_its_version_are_kept_with_the_attempt(harness: Harness) -> None:
    done(harness)
    [(worker, version)] = harness.sql("SELECT worker, version FROM attempts")
    assert worker == harness.resources.name
    assert isinstance(version, str)


def test_a_task_of_an_unreadable_body_is_not_retried(harness: Harness, tenant: int) -> None:
    harness.receive(b"not JSON")
    harness.record()
    [(task_id, body)] = harness.sql("SELECT t.id, d.body FROM tasks t JOIN deliveries d USING (event_id)")
    assert zlib.decompress(body) == b"not JSON"
    with pytest.raises(MovedOn, match="cannot be read"):
        retry_task(harness.resources.pool.run, NINA, task_id)
